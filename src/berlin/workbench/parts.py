"""The requests that a recipe describes, each with its place in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from berlin.auth.flows.login import LoginMap
from berlin.auth.flows.oauth2 import OAuth2Map
from berlin.language.step import BODIES, Step
from berlin.language.tables.chat import FormatName
from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import Recipe
from berlin.types import ChatRequest, HttpRequest, HttpResponse, Message
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import get_at, parse_pointer

_OAUTH_TAKE: dict[str, Any] = {"token": "/access_token", "refresh_token": "/refresh_token"}
_DEVICE_TAKE: dict[str, Any] = {"code": "/device_code"}

# Where the answers of the built-in formats have what a recipe would describe.
KNOWN_STREAMS: Mapping[FormatName, StreamMap] = {
    "openai-chat": StreamMap(
        "sse",
        text="/choices/0/delta/content",
        reasoning="/choices/0/delta/reasoning_content",
        finish_reason="/choices/0/finish_reason",
        input_tokens="/usage/prompt_tokens",
        output_tokens="/usage/completion_tokens",
        error="/error",
    ),
    "openai-responses": StreamMap(
        "sse",
        text="/delta",
        finish_reason="/response/status",
        input_tokens="/response/usage/input_tokens",
        output_tokens="/response/usage/output_tokens",
        error=["/error", "/response/error"],
    ),
    "anthropic-messages": StreamMap(
        "sse",
        text="/delta/text",
        reasoning="/delta/thinking",
        finish_reason="/delta/stop_reason",
        output_tokens="/usage/output_tokens",
        error="/error",
        done="",
    ),
    "ollama-chat": StreamMap(
        "ndjson",
        text="/message/content",
        reasoning="/message/thinking",
        finish_reason=["/done_reason", "/done"],
        input_tokens="/prompt_eval_count",
        output_tokens="/eval_count",
        error="/error",
    ),
}


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


def stream_of(recipe: Recipe) -> StreamMap:
    """Return the description of the answer, or the equivalent one for a built-in format."""
    chat = recipe.chat
    return chat.described_stream or KNOWN_STREAMS.get(chat.format) or StreamMap("text")


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
    path = chat.path if chat.path is not None else _path_of_known(recipe)
    return [*parts, Part(("chat",), "the chat", chat.step(path))]


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


def taken(step: Step, answer: HttpResponse, cookies: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that a step's `take` finds in an answer; `MISSING` where there is none.

    Args:
        step: the description.
        answer: the answer to it.
        cookies: cookies set by this answer and those before it.
    """
    document = parse_document(answer.body)
    values: dict[str, Any] = {}
    for name, place in step.take.items():
        if isinstance(place, str):
            values[name] = get_at(document, parse_pointer(place))
        else:
            values[name] = place.find(answer, document, cookies)
    return values


def parse_document(body: bytes) -> Any:
    """Return the JSON in a body, `None` if it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except DECODE_ERRORS:
        return None


def _path_of_known(recipe: Recipe) -> str:
    exchange = recipe.format().encode_request(ChatRequest((Message.of("user", "Hello"),)))
    try:
        return next(exchange).path
    except StopIteration as done:
        path: str = done.value.path
        return path


def _fits(step: Step, request: HttpRequest) -> bool:
    if step.method != request.method:
        return False
    pieces = re.split(r"\{[a-z0-9_]+\}", step.path)
    return re.fullmatch("[^/]*".join(map(re.escape, pieces)), request.path) is not None
