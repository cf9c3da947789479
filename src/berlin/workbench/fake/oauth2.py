"""The part of a fake that is a token endpoint (RFC 6749) and a device endpoint (RFC 8628)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from berlin.auth.flows.oauth2.table import DEVICE_GRANT, OAuth2Map
from berlin.language.backwards import Received, StepReader, decode_basic
from berlin.language.step import Step
from berlin.language.values.form import decode_form
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse
from berlin.wire.json import encode_body
from berlin.workbench.fake.issued import IssuedValues
from berlin.workbench.fake.play import Play, path_at_fake, whole


class OAuth2Play:
    """Plays the token service of a recipe; a device code is approved immediately."""

    def __init__(self, recipe: Recipe, oauth: OAuth2Map, issued: IssuedValues) -> None:
        self._recipe = recipe
        self._map = oauth
        self._handed = issued

    def plays(self) -> list[Play]:
        """Return the endpoints."""
        plays = [self._play(self._map.token_url, self._token)]
        if self._map.device_url:
            plays.append(self._play(self._map.device_url, self._device))
        return plays

    def _play(self, url: str, reply: Any) -> Play:
        path = path_at_fake(self._recipe, url)
        return Play(StepReader(Step(path), path), whole(reply))

    def _token(self, received: Received) -> HttpResponse:
        form = decode_form(received.body)
        refused = self._refuse_client(received, form) or self._refuse_grant(form)
        if refused is not None:
            return refused
        given = self._handed.give(("token", "refresh_token", "expires_in"), {})
        return _answer(
            {
                "access_token": given["token"],
                "token_type": "Bearer",
                "expires_in": given["expires_in"],
                "refresh_token": given["refresh_token"],
            }
        )

    def _device(self, received: Received) -> HttpResponse:
        refused = self._refuse_client(received, decode_form(received.body))
        if refused is not None:
            return refused
        given = self._handed.give(("device_code", "user_code"), {})
        return _answer(
            {
                "device_code": given["device_code"],
                "user_code": given["user_code"][:8].upper(),
                "verification_uri": "http://127.0.0.1/nothing-to-do-here",
                "expires_in": 600,
                "interval": 1,
            }
        )

    def _refuse_client(self, received: Received, form: Mapping[str, str]) -> HttpResponse | None:
        right = self._handed.credentials.values()
        header = received.headers.get("authorization", "")
        if header.startswith("Basic "):
            client, secret = _pair(header.removeprefix("Basic "))
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        needs_secret = self._map.grant == "client_credentials" or secret
        needs_client = needs_secret or client or self._map.grant == "device_code"
        if (needs_client and client != right.get("client_id")) or (
            needs_secret and secret != right.get("client_secret")
        ):
            return _refusal(401, "invalid_client", "the client id or the client secret is wrong")
        return None

    def _refuse_grant(self, form: Mapping[str, str]) -> HttpResponse | None:
        right = self._handed.credentials.values()
        missing = [n for n, v in self._map.parameters.items() if form.get(n) != v]
        if missing:
            return _refusal(400, "invalid_request", f"missing: {', '.join(missing)}")
        match form.get("grant_type", ""):
            case "client_credentials":
                good = True
            case "password":
                pair = form.get("username"), form.get("password")
                good = pair == (right["account"], right["password"])
            case "refresh_token":
                token = form.get("refresh_token", "")
                good = self._handed.knows("refresh_token", token)
                good |= token == right.get("refresh_token")
            case grant if grant == DEVICE_GRANT:
                good = self._handed.knows("device_code", form.get("device_code", ""))
            case grant:
                return _refusal(400, "unsupported_grant_type", f"no grant {grant[:80]!r} here")
        return None if good else _refusal(400, "invalid_grant", "what was sent is wrong")


def _pair(encoded: str) -> tuple[str, str]:
    client, _, secret = decode_basic(encoded).partition(":")
    return unquote_plus(client), unquote_plus(secret)


def _answer(document: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(status, body=encode_body(document))


def _refusal(status: int, error: str, description: str) -> HttpResponse:
    return _answer({"error": error, "error_description": description}, status)
