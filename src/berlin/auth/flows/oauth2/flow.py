"""The flow that an `OAuth2Map` describes."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from berlin.auth.contract import Person, Send
from berlin.auth.credentials import Credentials
from berlin.auth.flows.oauth2.browser import log_in_by_browser
from berlin.auth.flows.oauth2.device import ask_for_code, wait_for_token
from berlin.auth.flows.oauth2.discovery import Discovery
from berlin.auth.flows.oauth2.endpoint import read_grant, token_request
from berlin.auth.flows.oauth2.sign import sign
from berlin.auth.flows.oauth2.table import JWT_BEARER_GRANT, TOKEN_EXCHANGE_GRANT, OAuth2Map
from berlin.auth.grant import Grant
from berlin.errors import ConfigurationError, MissingCredentialsError
from berlin.types import HttpRequest, HttpResponse, Secret

TOLERATED_SKEW_S = 30.0


class OAuth2Flow:
    """Obtains tokens from a token endpoint; see `Flow`.

    Args:
        oauth: the table `[auth]`.
    """

    def __init__(self, oauth: OAuth2Map) -> None:
        self._map = oauth
        self._discovery = Discovery(oauth)
        self.needs = oauth.needs
        self.asks = True
        self._skew_s = 0.0

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        return self._map.needs_person

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Obtain a token while a person enters a code or logs in with a browser; see `Flow`."""
        endpoints = await self._discovery.endpoints(send)
        values = credentials.values()
        if self._map.grant == "authorization_code":
            if not endpoints.authorize:
                raise ConfigurationError(f"{endpoints.issuer} names no page to log in on")
            return await log_in_by_browser(self._map, endpoints, values, send, person)
        if not endpoints.device:
            raise ConfigurationError(f"{endpoints.issuer} names no endpoint for device codes")
        code = await ask_for_code(self._map, endpoints, values, send)
        person.show_code(code)
        return await wait_for_token(self._map, endpoints, code, values, send)

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Obtain a token by a full login; see `Flow`."""
        values = credentials.values()
        match self._map.grant:
            case "device_code" | "authorization_code":
                raise MissingCredentialsError("a person has to log in first")
            case "signed":
                # Its expiry is the one that was signed, also where `exp` is left out.
                signs, now = self._map.signs, time.time()
                return Grant(sign(signs, values, "", now), now, now + signs.lifetime_s)
            case "refresh_token":
                return await self.renew(credentials, credentials.refresh_token, send)
            case "client_credentials":
                form = {"grant_type": "client_credentials"}
            case "password":
                form = {
                    "grant_type": "password",
                    "username": values["account"],
                    "password": values["password"],
                }
            case "jwt_bearer" if self._map.takes_assertion:
                form = {"grant_type": JWT_BEARER_GRANT, "assertion": values["assertion"]}
            case "jwt_bearer":
                form = {"grant_type": JWT_BEARER_GRANT}  # signed when it is sent
            case "token_exchange":
                form = {
                    "grant_type": TOKEN_EXCHANGE_GRANT,
                    "subject_token": values["assertion"],
                    "subject_token_type": self._map.subject_token_type,
                }
        if self._map.scope:
            form["scope"] = self._map.scope
        return await self._ask(values, form, send)

    async def renew(self, credentials: Credentials, refresh_token: Secret, send: Send) -> Grant:
        """Renew the token (RFC 6749, 6); see `Flow`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        grant = await self._ask(credentials.values(), form, send)
        if grant.refresh_token is None:
            grant = msgspec.structs.replace(grant, refresh_token=refresh_token)
        return grant

    async def _ask(self, values: dict[str, str], form: dict[str, str], send: Send) -> Grant:
        """Request a token, with the clock of the server if it refuses what ours signed."""
        url = (await self._discovery.endpoints(send)).token
        response = await send(self._request(url, values, form))
        if self._signs and response.status in (400, 401):
            skew_s = _clock_skew(response)
            if abs(skew_s - self._skew_s) > TOLERATED_SKEW_S:
                self._skew_s = skew_s
                response = await send(self._request(url, values, form))
        return read_grant(self._map, response)

    @property
    def _signs(self) -> bool:
        by_us = self._map.grant == "jwt_bearer" and not self._map.takes_assertion
        return by_us or self._map.client_auth == "private_key_jwt"

    def _request(self, url: str, values: dict[str, str], form: dict[str, str]) -> HttpRequest:
        now = time.time() + self._skew_s
        if form["grant_type"] == JWT_BEARER_GRANT and "assertion" not in form:
            form = {**form, "assertion": sign(self._map.signs, values, url, now).reveal()}
        return token_request(self._map, url, values, form, now=now)


def _clock_skew(response: HttpResponse) -> float:
    """Return by how many seconds the server's clock is ahead of ours; 0 if it does not say."""
    try:
        at = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
