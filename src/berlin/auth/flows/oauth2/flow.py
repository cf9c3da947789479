"""The flow that an `OAuth2Map` describes."""

from __future__ import annotations

import time

import msgspec

from berlin.auth.contract import Person, Send
from berlin.auth.credentials import Credentials
from berlin.auth.flows.oauth2.browser import log_in_by_browser
from berlin.auth.flows.oauth2.device import ask_for_code, wait_for_token
from berlin.auth.flows.oauth2.discovery import Server
from berlin.auth.flows.oauth2.endpoint import TokenClient
from berlin.auth.flows.oauth2.sign import sign
from berlin.auth.flows.oauth2.table import JWT_BEARER_GRANT, TOKEN_EXCHANGE_GRANT, OAuth2Map
from berlin.auth.grant import Grant
from berlin.errors import ConfigurationError, MissingCredentialsError
from berlin.types import Secret


class OAuth2Flow:
    """Obtains tokens from a token endpoint; see `Flow`."""

    def __init__(self, oauth: OAuth2Map) -> None:
        self._map = oauth
        self._server = Server(oauth)
        self.needs = oauth.needs
        self.asks = True

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        return self._map.needs_person

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Obtain a token while a person enters a code or logs in with a browser; see `Flow`."""
        client = await self._client(credentials, send)
        endpoints = client.endpoints
        if self._map.grant == "authorization_code":
            if not endpoints.authorize:
                raise ConfigurationError(f"{endpoints.issuer} names no page to log in on")
            return await log_in_by_browser(client, person)
        if not endpoints.device:
            raise ConfigurationError(f"{endpoints.issuer} names no endpoint for device codes")
        code = await ask_for_code(client)
        person.show_code(code)
        return await wait_for_token(client, code)

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
                form = {"grant_type": JWT_BEARER_GRANT}  # `TokenClient` signs it
            case "token_exchange":
                form = {
                    "grant_type": TOKEN_EXCHANGE_GRANT,
                    "subject_token": values["assertion"],
                    "subject_token_type": self._map.subject_token_type,
                }
        if self._map.scope:
            form["scope"] = self._map.scope
        return await (await self._client(credentials, send)).ask(form)

    async def renew(self, credentials: Credentials, refresh_token: Secret, send: Send) -> Grant:
        """Renew the token (RFC 6749, 6); see `Flow`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        grant = await (await self._client(credentials, send)).ask(form)
        if grant.refresh_token is None:
            grant = msgspec.structs.replace(grant, refresh_token=refresh_token)
        return grant

    async def _client(self, credentials: Credentials, send: Send) -> TokenClient:
        endpoints = await self._server.endpoints(send)
        return TokenClient(self._server, endpoints, credentials.values(), send)
