"""Requests to a token endpoint: the form, client authentication, and the errors in responses."""

from __future__ import annotations

import base64
import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.parse import quote_plus, urlencode

from berlin.auth.contract import Send
from berlin.auth.flows.login import outline, read_answer
from berlin.auth.flows.oauth2.discovery import Endpoints, Server
from berlin.auth.flows.oauth2.sign import sign
from berlin.auth.flows.oauth2.table import JWT_BEARER_GRANT, OAuth2Map
from berlin.auth.grant import UNTAKEN, Grant, parse_grant
from berlin.errors import ProtocolError, ServiceUnavailableError
from berlin.language.step import MAX_STEP_VALUES
from berlin.language.values.form import encode_form
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.json import decoded_or_none

JWT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOLERATED_SKEW_S = 30.0


class TokenClient:
    """A client of an authorization server, for one login or renewal.

    Args:
        server: the server; the difference of the clocks is learned here.
    """

    def __init__(
        self, server: Server, endpoints: Endpoints, values: dict[str, str], send: Send
    ) -> None:
        self.described, self.endpoints, self.values = server.described, endpoints, values
        self._server, self._send = server, send

    async def ask(self, form: dict[str, str]) -> Grant:
        """Request a token. Raises BerlinError if there is none."""
        return read_grant(self.described, await self.post(self.endpoints.token, form))

    async def post(self, url: str, form: dict[str, str]) -> HttpResponse:
        """Send a form to an endpoint, again with the server's clock if it refuses what we signed.

        Raises:
            ConfigurationError: if the client cannot authenticate itself.
        """
        response = await self._send(self._request(url, form))
        signs = self.described.client_auth == "private_key_jwt" or _signs_grant(form)
        if signs and response.status in (400, 401):
            skew_s = _clock_skew(response)
            if abs(skew_s - self._server.skew_s) > TOLERATED_SKEW_S:
                self._server.skew_s = skew_s
                response = await self._send(self._request(url, form))
        return response

    def _request(self, url: str, form: dict[str, str]) -> HttpRequest:
        described, values = self.described, self.values
        headers: dict[str, str | Secret] = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        fields = {**described.parameters, **form}
        if _signs_grant(form):
            fields["assertion"] = self._signed()
        client, secret = values.get("client_id", ""), values.get("client_secret", "")
        match described.client_auth:
            case "basic" if secret:
                # RFC 6749, 2.3.1: both are form-encoded before they are joined.
                pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode()
                headers["Authorization"] = Secret("Basic " + base64.b64encode(pair).decode())
            case "private_key_jwt":
                proof = self._signed()
                fields.update(client_assertion_type=JWT_ASSERTION, client_assertion=proof)
            case "assertion":
                proof = values["assertion"]
                fields.update(client_assertion_type=JWT_ASSERTION, client_assertion=proof)
            case "basic" | "body" | "mtls" | "none":
                fields.update({"client_secret": secret} if secret else {})
        if client and "Authorization" not in headers:
            fields["client_id"] = client
        body = encode_form(fields)
        if described.resource:  # RFC 8707, 2: one parameter for each
            body += b"&" + urlencode([("resource", name) for name in described.resource]).encode()
        return HttpRequest("POST", url, headers, body=body)

    def _signed(self) -> str:
        """Return a JWT for the token endpoint, whatever endpoint it is sent to."""
        now = time.time() + self._server.skew_s
        return sign(self.described.signs, self.values, self.endpoints.token, now).reveal()


def _signs_grant(form: dict[str, str]) -> bool:
    return form.get("grant_type") == JWT_BEARER_GRANT and "assertion" not in form


def _clock_skew(response: HttpResponse) -> float:
    """Return by how many seconds the server's clock is ahead of ours; 0 if it does not say."""
    try:
        at = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError):
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()


def read_grant(described: OAuth2Map, response: HttpResponse) -> Grant:
    """Return the grant in a token endpoint's response. Raises BerlinError."""
    if error_of(response) in ("temporarily_unavailable", "server_error"):
        raise ServiceUnavailableError("the token service is temporarily unavailable")
    answer = read_answer(response, "", "the token request")
    kind = answer.get("token_type")
    # RFC 6749, 7.1: a token of an unknown type must not be used. RFC 8693, 2.2.1 has N_A for one
    # that is not an access token; a large gateway writes BearerToken.
    known = {"bearer", "bearertoken", *(("n_a",) if described.grant == "token_exchange" else ())}
    if isinstance(kind, str) and kind.strip().lower() not in known:
        raise ProtocolError(f"the token is of type {kind[:40]!r}; only bearer is understood")
    # Only what a recipe can use: an identity token, for example, is not stored.
    values = {name: answer[name] for name in UNTAKEN & answer.keys()}
    values["token"] = answer.get("access_token")
    return parse_grant(values, time.time(), outline(answer), "the token request")


def error_of(response: HttpResponse) -> str:
    """Return the error code of RFC 6749, 5.2, or `""` where there is none.

    Some services send it with status 200 (docs.github.com: device flow).
    """
    document = decoded_or_none(response.body, MAX_STEP_VALUES)
    if not isinstance(document, dict) or "access_token" in document:
        return ""
    error = document.get("error")
    return error if isinstance(error, str) else ""
