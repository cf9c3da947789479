"""A trial of a recipe: one prompt, and every request and response it caused."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from berlin.auth.authenticator import Authenticator
from berlin.auth.contract import Person
from berlin.auth.credentials import Credentials
from berlin.errors import BerlinError
from berlin.language.secrets_scan import find_marked, looks_secret, names_secret
from berlin.language.values.place import Place
from berlin.providers.http import HttpProvider
from berlin.recipes.build import build_provider
from berlin.recipes.recipe import Recipe
from berlin.transport.record import Recorder
from berlin.transport.sender import Sender
from berlin.types import (
    ChatRequest,
    ChatResponse,
    Endpoint,
    HttpRequest,
    HttpResponse,
    ReasoningDelta,
    Secret,
    TextDelta,
    Timeouts,
)
from berlin.types.accumulate import Accumulator
from berlin.wire.json import decoded_or_none
from berlin.wire.pointer import get_at, parse_pointer
from berlin.workbench.draft.leaves import leaves, member
from berlin.workbench.parts import Part, assign, parts_of

# The values of a login that are not secret.
_HARMLESS = ("expires_in", "expires_in_ms", "expires_at")


class TriedTurn(msgspec.Struct, frozen=True):
    """One request of a trial.

    Attributes:
        part: its part of the recipe.
        answer: the part of the response that was read.
        cookies: cookies set by this response and those before it.
        at: when the response was read or abandoned, in seconds since the trial began.
    """

    part: Part
    request: HttpRequest
    answer: HttpResponse
    cookies: dict[str, str]
    at: float

    @property
    def taken(self) -> dict[str, Any]:
        """The values that the recipe takes from the response; `MISSING` where there is none."""
        document = decoded_or_none(self.answer.body)
        return {
            name: get_at(document, parse_pointer(place))
            if isinstance(place, str)
            else place.find(self.answer, document, self.cookies)
            for name, place in self.part.step.take.items()
        }


class Trial:
    """Sends one prompt as a recipe says, with a fresh login: no earlier token is used.

    Args:
        credentials: the credentials for the login; `None` if none are needed.
        watch: called with each request and its response when that was read or abandoned.

    Attributes:
        turns: the requests and responses so far.
        response: the whole answer; `None` if there is none.
        error: the error that ended the trial; `None` if it succeeded.
        text: the text received, even if the answer broke off.
        first_text_at: when the first text arrived, in seconds since the beginning; `None` if none
            did.
        seconds: the total time.
    """

    def __init__(
        self,
        recipe: Recipe,
        endpoint: Endpoint,
        credentials: Credentials | None,
        timeouts: Timeouts,
        watch: Callable[[TriedTurn], None] = lambda turn: None,
    ) -> None:
        self.turns: list[TriedTurn] = []
        self.response: ChatResponse | None = None
        self.error: BerlinError | None = None
        self.text = self.reasoning = ""
        self.first_text_at: float | None = None
        self.seconds = 0.0
        self._recipe = recipe
        self._credentials = credentials or Credentials()
        self._parts = parts_of(recipe)
        self._watch = watch
        self._cookies: dict[str, str] = {}
        self._learned: set[Secret] = set()
        self._began = time.monotonic()
        self._provider, self._auth = self._build(endpoint, timeouts)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The values that must not be shown: credentials, tokens, cookies, and probable ones."""
        given = (*self._auth.secrets, *self._learned)
        return tuple(sorted(given, key=lambda secret: -len(secret.reveal())))

    async def run(self, request: ChatRequest, person: Person | None = None) -> None:
        """Log in, send the prompt and keep what happens, including an error of the service."""
        try:
            # A fresh login: another trial in this process may have left a token.
            login = self._auth.log_in(self._provider.send, person)
            await self._provider.without_secrets(login)
            answer = Accumulator()
            async for burst in self._provider.bursts(request):
                for event in burst:
                    answer.add(event)
                    match event:
                        case TextDelta(text=text):
                            self.text += text
                            self.first_text_at = self.first_text_at or self._now()
                        case ReasoningDelta(text=text):
                            self.reasoning += text
                        case _:
                            pass
            self.response = answer.response()
        except BerlinError as error:
            self.error = error
        finally:
            self.seconds = self._now()
            await self._provider.aclose()

    def _build(self, endpoint: Endpoint, timeouts: Timeouts) -> tuple[HttpProvider, Authenticator]:
        def record(sender: Sender) -> Sender:
            return Recorder(sender, self._note, _wanted_headers(self._parts))

        return build_provider(self._recipe, endpoint, self._credentials, timeouts, record=record)

    def _note(self, request: HttpRequest, answer: HttpResponse) -> None:
        self._cookies = {**self._cookies, **answer.cookies}
        part = assign(self._parts, [*(turn.request for turn in self.turns), request])[-1]
        turn = TriedTurn(part, request, answer, self._cookies, self._now())
        self.turns.append(turn)
        self._learned |= {Secret(value) for value in _secrets_in(turn) if value}
        self._watch(turn)

    def _now(self) -> float:
        return time.monotonic() - self._began


def _wanted_headers(parts: list[Part]) -> set[str]:
    places = (place for part in parts for place in part.step.take.values())
    return {place.header.lower() for place in places if isinstance(place, Place) and place.header}


def _secrets_in(turn: TriedTurn) -> Iterator[str]:
    """Yield the secrets in a response."""
    yield from turn.answer.cookies.values()
    for name, value in turn.taken.items():
        is_secret = turn.part.is_login and name not in _HARMLESS
        if isinstance(value, str) and (is_secret or looks_secret(name, value)):
            yield value
    if turn.part.is_login:
        # Even if the recipe looks for it in the wrong place.
        for place, value in leaves(decoded_or_none(turn.answer.body)):
            if looks_secret(member(place), value):
                yield value
    else:
        yield from _repeated_secrets(turn.answer.body.decode("utf-8", "replace"))


def _repeated_secrets(text: str) -> Iterator[str]:
    """Yield the tokens that a chat's answer repeats or renews, found by form and by name.

    Many services call the pieces of their text `token`: those are short, or words.
    """
    yield from find_marked(text)
    for found in _MEMBER.finditer(text):
        name, value = found[1], found[2]
        if names_secret(name) and _LIKE_TOKEN.fullmatch(value):
            yield value


_MEMBER = re.compile(r'"([\w.-]{1,64})"\s{0,4}:\s{0,4}"([^"\\\s]{8,8192})"')
_LIKE_TOKEN = re.compile(r"(?=[^0-9_.-]*+[0-9_.-])[!-~]+")
