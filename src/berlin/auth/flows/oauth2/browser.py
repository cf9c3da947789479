"""The login in a browser: authorization code with PKCE (RFC 6749, 7636, 8252, 9700)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

from berlin.auth.contract import Person
from berlin.auth.flows.oauth2.discovery import Endpoints
from berlin.auth.flows.oauth2.endpoint import TokenClient, read_grant
from berlin.auth.flows.oauth2.redirect import RedirectListener, parameters_of
from berlin.auth.grant import Grant, jwt_claims
from berlin.errors import AuthenticationError, ProtocolError
from berlin.language.step import MAX_STEP_VALUES
from berlin.types import HttpResponse
from berlin.wire.json import decoded_or_none
from berlin.wire.snippet import snippet

PATIENCE_S = 300.0


async def log_in_by_browser(client: TokenClient, person: Person) -> Grant:
    """Let a person log in with a browser, and return the grant.

    Raises:
        AuthenticationError: if the person refuses, does not act in time, or the redirect does not
            belong to this login.
        BerlinError: for all other failures.
    """
    described, endpoints, client_id = client.described, client.endpoints, client.values["client_id"]
    state, nonce = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    verifier = secrets.token_urlsafe(64)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    wants_identity = "openid" in described.scope.split()
    async with RedirectListener(state, described.redirect_port, described.redirect_path) as back:
        query = {
            **described.authorize_parameters,
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": back.url,
            "state": state,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **({"scope": described.scope} if described.scope else {}),
            **({"nonce": nonce} if wants_identity else {}),
        }
        more = urlencode([*query.items(), *(("resource", name) for name in described.resource)])
        joint = "&" if urlsplit(endpoints.authorize).query else "?"
        answer = await _wait_for_redirect(back, person, f"{endpoints.authorize}{joint}{more}")
        code = _code_of(answer, state, endpoints)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back.url,
            "code_verifier": verifier,
        }
    response = await client.post(endpoints.token, form)
    grant = read_grant(described, response)
    if wants_identity:
        _check_identity(response, nonce, endpoints, client_id)
    return grant


async def _wait_for_redirect(back: RedirectListener, person: Person, url: str) -> dict[str, str]:
    """Return the parameters of the redirect: from the browser, or as the person pasted it."""
    listening = asyncio.ensure_future(back.wait())
    pasting = asyncio.ensure_future(person.open_page(url, back.url))
    try:
        async with asyncio.timeout(PATIENCE_S):
            done, _ = await asyncio.wait({listening, pasting}, return_when="FIRST_COMPLETED")
            if listening not in done:
                pasted = pasting.result()
                if pasted is not None:
                    return parameters_of(pasted.strip().strip("'\"<>"))
            return await listening
    except TimeoutError:
        raise AuthenticationError(
            f"nobody logged in within {PATIENCE_S:.0f} s; run `berlin login` again"
        ) from None
    finally:
        for task in (listening, pasting):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _code_of(given: dict[str, str], state: str, endpoints: Endpoints) -> str:
    if not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
        raise AuthenticationError(
            "this address is not the answer to this login (its state is another one); "
            "paste the whole address of the page to which the browser went last"
        )
    # RFC 9207: a response from a different server is not used.
    issuer = given.get("iss")
    if endpoints.issuer and issuer is None and endpoints.names_itself:
        raise ProtocolError(f"the answer does not say that it comes from {endpoints.issuer}")
    if endpoints.issuer and issuer is not None and issuer != endpoints.issuer:
        raise ProtocolError(f"the answer comes from {snippet(issuer)}, not {endpoints.issuer}")
    if "error" in given:
        said = given.get("error_description") or given["error"]
        if given["error"] == "access_denied":
            raise AuthenticationError(f"the access was refused in the browser: {snippet(said)}")
        raise AuthenticationError(f"the login failed in the browser: {snippet(said)}")
    if not given.get("code"):
        raise ProtocolError("the browser came back without a code")
    return given["code"]


def _check_identity(
    response: HttpResponse, nonce: str, endpoints: Endpoints, client_id: str
) -> None:
    """Check the audience of the token. It came directly from the token endpoint over TLS, so its
    signature need not be checked (OpenID Connect Core 1.0, 3.1.3.7).
    """
    document = decoded_or_none(response.body, MAX_STEP_VALUES)
    token = document.get("id_token") if isinstance(document, dict) else None
    if token is None:
        return
    claims = jwt_claims(token) if isinstance(token, str) else {}
    if not claims:
        raise ProtocolError("the identity token is not a JSON Web Token")
    audience = claims.get("aud")
    if claims.get("nonce") != nonce:
        raise ProtocolError("the identity token is not the answer to this login (its nonce)")
    if endpoints.issuer and claims.get("iss") != endpoints.issuer:
        raise ProtocolError("the identity token comes from another issuer")
    if client_id not in (audience if isinstance(audience, list) else [audience]):
        raise ProtocolError("the identity token is for another client")
