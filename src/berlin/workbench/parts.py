"""The requests that a recipe describes, each with its place in the file, and their answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from berlin.auth.flows.login import LoginMap
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.errors import ProtocolError
from berlin.formats.build import path_of
from berlin.language.step import BODIES, Step
from berlin.language.tables.stream import StreamMap
from berlin.language.values.place import Place
from berlin.recipes.recipe import Recipe
from berlin.types import HttpRequest
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import MISSING, get_at, parse_pointer

_OAUTH_TAKE: dict[str, Any] = {"token": "/access_token", "refresh_token": "/refresh_token"}
_DEVICE_TAKE: dict[str, Any] = {"code": "/device_code"}

MAX_DOCUMENTS = 500

# The keys of `[chat.stream]` that point at a value, with what it is.
POINTERS = {
    "text": "text",
    "reasoning": "reasoning",
    "kind": "what kind of object it is",
    "finish_reason": "finish reason",
    "input_tokens": "size of the request in tokens",
    "output_tokens": "size of the answer in tokens",
    "tool_calls": "tool calls",
    "conversation_id": "the service's id of the conversation",
    "message_id": "the service's id of the answer",
    "error": "an error",
    "error_message": "what an error says",
    "error_code": "an error's code",
}


class Hint(msgspec.Struct, frozen=True):
    """A probable mistake in a recipe.

    Attributes:
        place: the key in the recipe; its parts may include the number of a step.
        why: the mistake, and what to write instead.
    """

    place: tuple[str, ...]
    why: str


class Part(msgspec.Struct, frozen=True):
    """One request that a recipe describes.

    Attributes:
        place: the table in the recipe; the number of a step is the last segment.
        title: a title for display.
        step: its description; for built-in formats and OAuth, the part visible in a recipe.
        is_login: whether its answer contains secrets.
    """

    place: tuple[str, ...]
    title: str
    step: Step
    is_login: bool = False

    @property
    def body_key(self) -> tuple[str, ...]:
        """The key in the recipe of this request's body."""
        if self.place == ("auth",):
            return ("auth", "grant")
        return (*self.place, next((k for k in BODIES if getattr(self.step, k) is not None), "json"))

    @property
    def path_key(self) -> tuple[str, ...]:
        """The key in the recipe of this request's path."""
        if self.title == _DEVICE:
            return ("auth", "device_url")
        return ("auth", "token_url") if self.title == _TOKEN else (*self.place, "path")


_TOKEN = "the token request"
_DEVICE = "the request for a device code"


def in_words(place: str | Place) -> str:
    """Return a place in an answer, for display."""
    return place if isinstance(place, str) else place.words


def parts_of(recipe: Recipe) -> list[Part]:
    """Return the requests of a recipe in their order: login, refresh, preparation, chat."""
    parts: list[Part] = []
    match recipe.auth:
        case LoginMap(steps=steps, refresh=refresh):
            parts += [
                Part(("auth", "steps", str(n)), f"step {n + 1} of the login", step, is_login=True)
                for n, step in enumerate(steps)
            ]
            parts += [
                Part(("auth", "refresh", str(n)), f"step {n + 1} of the refresh", step, True)
                for n, step in enumerate(refresh)
            ]
        case OAuth2Map(device_url=device, token_url=token):
            if device:
                parts.append(Part(("auth",), _DEVICE, Step(device, take=_DEVICE_TAKE), True))
            parts.append(Part(("auth",), _TOKEN, Step(token, take=_OAUTH_TAKE), is_login=True))
        case _:
            pass
    parts += [
        Part(("chat", "upload", str(n)), f"step {n + 1} of an upload", step)
        for n, step in enumerate(recipe.chat.upload)
    ]
    parts += [
        Part(("chat", "prepare", str(n)), f"step {n + 1} before the chat", step)
        for n, step in enumerate(recipe.chat.prepare)
    ]
    chat = recipe.chat
    return [*parts, Part(("chat",), "the chat", chat.step(path_of(chat)))]


def assign(parts: list[Part], requests: Iterable[HttpRequest]) -> list[Part]:
    """Return the part that each request was sent for, in the order they were sent."""
    assigned: list[Part] = []
    after = -1
    for request in requests:
        fits = [n for n, part in enumerate(parts) if _fits(part.step, request)]
        # Of two steps with the same path, the next in turn; a renewed login starts over.
        after = next((n for n in fits if n > after), fits[0] if fits else len(parts) - 1)
        assigned.append(parts[after])
    return assigned


def _fits(step: Step, request: HttpRequest) -> bool:
    if step.method != request.method:
        return False
    pieces = re.split(r"\{[a-z0-9_]+\}", step.path)
    return re.fullmatch("[^/]*".join(map(re.escape, pieces)), request.path) is not None


def documents(stream: StreamMap, body: bytes) -> list[Any]:
    """Return the JSON objects that the framing finds in a body."""
    framer = FRAMINGS[stream.framing].framer(stream.done.encode())
    try:
        lines = framer.feed(body) + framer.finish()
    except ProtocolError:
        return []
    found: list[Any] = []
    for line in lines:
        if not line.strip():
            continue
        if len(found) == MAX_DOCUMENTS:
            break
        try:
            found.append(msgspec.json.decode(line))
        except DECODE_ERRORS:
            break
    return found


def found_at(pointers: str | list[str], document: Any) -> Any:
    """Return the first value found by any of the pointers, or `MISSING`."""
    for place in listed(pointers):
        value = get_at(document, parse_pointer(place))
        if value is not MISSING and value is not None:
            return value
    return MISSING


def listed(pointers: str | list[str]) -> list[str]:
    """Return pointers as a list, in whichever form the recipe has them."""
    return [pointers] if isinstance(pointers, str) else list(pointers)
