"""The part of a fake that logs clients in and checks their tokens."""

from __future__ import annotations

import re

from msgspec.structs import replace

from berlin.auth.attach import Attachment, attachments
from berlin.auth.flows.command import CommandMap
from berlin.auth.flows.login import LOGIN_NAMES, LoginMap
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.auth.flows.static import ApiKeyMap, BasicMap, NoneMap
from berlin.auth.sigv4 import AwsKeys, authorization, canonical_query
from berlin.errors import KeyRefusedError
from berlin.language.backwards import Received, StepReader, decode_basic, read_text
from berlin.language.step import CompiledStep, Step, compile_steps
from berlin.language.values.place import Place
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse, Secret
from berlin.workbench.fake.issued import IssuedValues
from berlin.workbench.fake.oauth2 import OAuth2Play
from berlin.workbench.fake.play import Play, path_at_fake, whole


class TokenRefusedError(KeyRefusedError):
    """The token of a request is invalid: the client should log in again."""


class AuthPlay:
    """Plays the table `[auth]` of a recipe, with the values that a fake has issued."""

    def __init__(self, recipe: Recipe, issued: IssuedValues) -> None:
        self._recipe = recipe
        self._auth = recipe.auth
        self._handed = issued

    def plays(self) -> list[Play]:
        """Return the requests that come before a client has a token."""
        match self._auth:
            case LoginMap() as login:
                names = LOGIN_NAMES | login.let.keys()
                parts = (compile_steps(steps, names) for steps in (login.steps, login.refresh))
                return [p for steps in parts for p in play_steps(steps, self._recipe, self._handed)]
            case OAuth2Map() as oauth:
                return OAuth2Play(self._recipe, oauth, self._handed).plays()
            case _:
                return []

    def check(self, received: Received) -> None:
        """Check the token of a request. Raises TokenRefusedError."""
        if isinstance(self._auth, NoneMap):
            return
        for attach in attachments(self._auth.attach):
            if attach.sign:
                self._check_signature(attach, received)
            elif not any(self._carries(attach, value) for value in _attached(attach, received)):
                raise TokenRefusedError(f"the token in {attach.where} is missing, wrong or expired")

    def _check_signature(self, attach: Attachment, received: Received) -> None:
        right = self._handed.credentials.values()
        keys = AwsKeys(right["client_id"], Secret(right["client_secret"]))
        sent = received.headers
        named = re.search("SignedHeaders=([^,]*)", sent.get("authorization", ""))
        headers = {name: sent.get(name, "") for name in (named[1] if named else "").split(";")}
        expected = authorization(
            received.method,
            received.path,
            canonical_query(received.query),
            headers,
            received.body,
            keys,
            attach.service,
            attach.region,
            sent.get("x-amz-date", ""),
        )
        if named is None or sent["authorization"] != expected:
            raise TokenRefusedError("the signature is missing or wrong")

    def _carries(self, attach: Attachment, value: str) -> bool:
        """Whether a value is what the login issued."""
        found = read_text(attach.value, value)
        return found is not None and all(
            self._is_good(one) if name == "token" else self._is_known(name, one)
            for name, one in found.items()
        )

    def _is_known(self, name: str, value: str) -> bool:
        right = self._handed.credentials.values()
        return self._handed.knows(name, value) or right.get(name) == value

    def _is_good(self, token: str) -> bool:
        right = self._handed.credentials.values()
        match self._auth:
            case ApiKeyMap():
                return token == right["api_key"]
            case BasicMap():
                return decode_basic(token) == f"{right['account']}:{right['password']}"
            case CommandMap():
                return bool(token)  # what the program prints cannot be known here
            case _:
                return self._handed.is_token(token)


def play_steps(steps: list[CompiledStep], recipe: Recipe, issued: IssuedValues) -> list[Play]:
    """Return handlers for consecutive steps: issued values and cookies must come back."""
    plays: list[Play] = []
    cookies: dict[str, str] = {}
    for step in steps:
        plays += _play_step(step, recipe, issued, dict(cookies))
        for name, place in step.step.take.items():
            if isinstance(place, Place) and place.cookie:
                cookies[name] = "session" if place.cookie == "*" else place.cookie
    return plays


def _play_step(
    step: CompiledStep, recipe: Recipe, issued: IssuedValues, cookies: dict[str, str]
) -> list[Play]:
    reader = StepReader(step.step, path_at_fake(recipe, step.step.path))

    def reply(received: Received) -> HttpResponse:
        sent = reader.read(received)
        sent |= {
            name: received.cookies[cookie]
            for name, cookie in cookies.items()
            if cookie in received.cookies
        }
        issued.check(reader.names | cookies.keys(), sent)
        given = issued.give(step.step.take, {**issued.recall(sent.values()), **sent})
        landing.append(step.answer(given))
        if step.step.follow:
            return HttpResponse(302, {"location": f"{received.path}/landed"})
        return landing.pop()

    landing: list[HttpResponse] = []
    plays = [Play(reader, whole(reply))]
    if step.step.follow:
        landed = StepReader(Step(reader.path, "GET"), f"{reader.path}/landed")
        plays.append(Play(landed, whole(lambda _: replace(landing.pop(), status=200))))
    return plays


def _attached(attach: Attachment, received: Received) -> list[str]:
    """Return the values that may be the token of a request."""
    if attach.query:
        found = [received.query.get(attach.query, "")]
    elif attach.header:
        found = [received.headers.get(attach.header.lower(), "")]
    elif attach.cookie == "*":
        found = [received.headers.get("cookie", ""), *received.cookies.values()]
    else:
        found = [received.cookies.get(attach.cookie, "")]
    return [value.removeprefix(attach.prefix) for value in found if value.startswith(attach.prefix)]
