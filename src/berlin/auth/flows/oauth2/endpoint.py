"""Requests to a token endpoint: the form, client authentication, and the errors in responses."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote_plus, urlencode

from berlin.auth.flows.login import outline, read_answer
from berlin.auth.flows.oauth2.sign import sign
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.auth.grant import UNTAKEN, Grant, parse_grant
from berlin.errors import ProtocolError, ServiceUnavailableError
from berlin.language.values.form import encode_form
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.json import decoded_or_none

JWT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def token_request(
    described: OAuth2Map,
    url: str,
    values: dict[str, str],
    form: dict[str, str],
    audience: str = "",
    now: float | None = None,
) -> HttpRequest:
    """Return a request to an endpoint of the authorization server.

    Args:
        described: the table `[auth]`.
        url: the endpoint.
        values: the credentials.
        form: the form's parameters.
        audience: the token endpoint, for which a JWT is signed; by default `url`.
        now: the time to sign it with, in seconds since 1970.

    Raises:
        ConfigurationError: if the client cannot authenticate itself.
    """
    headers: dict[str, str | Secret] = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    fields = {**described.parameters, **form}
    client, secret = values.get("client_id", ""), values.get("client_secret", "")
    match described.client_auth:
        case "basic" if secret:
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(client)}:{quote_plus(secret)}".encode()
            headers["Authorization"] = Secret("Basic " + base64.b64encode(pair).decode())
        case "private_key_jwt":
            proof = sign(described.signs, values, audience or url, now).reveal()
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


def read_grant(described: OAuth2Map, response: HttpResponse) -> Grant:
    """Return the grant in a token endpoint's response.

    Raises:
        BerlinError: if there is none.
    """
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
    document = decoded_or_none(response.body)
    if not isinstance(document, dict) or "access_token" in document:
        return ""
    error = document.get("error")
    return error if isinstance(error, str) else ""
