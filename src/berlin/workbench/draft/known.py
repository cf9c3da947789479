"""Recognises the formats built into Berlin."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.errors import BerlinError
from berlin.formats.build import build_format
from berlin.formats.contract import Format
from berlin.language.tables.chat import ChatMap, FormatName
from berlin.types import ChatRequest, ChatResponse
from berlin.types.accumulate import Accumulator
from berlin.workbench.draft.sources.captured import Exchange

_NAMES: tuple[FormatName, ...] = (
    "openai-chat",
    "openai-responses",
    "anthropic-messages",
    "ollama-chat",
)


class KnownGuess(msgspec.Struct, frozen=True):
    """A chat in a built-in format.

    Attributes:
        chat: the table `[chat]`.
        base: the path of the base URL.
        model: the requested model.
        answer: the values read from the answer.
    """

    chat: dict[str, Any]
    base: str
    model: str
    answer: ChatResponse


def find_known(exchange: Exchange) -> KnownGuess | None:
    """Return the built-in format of a request and its answer; `None` if it is another."""
    for name in _NAMES:
        format = build_format(ChatMap(format=name), "")
        try:
            call = format.decode_request(exchange.request.body)
            answer = _read(format, exchange.answer)
        except BerlinError:
            continue
        if not answer.text or not call.request.model:
            continue
        usual, path = _usual_path(format), exchange.request.path
        chat: dict[str, Any] = {"format": name}
        base = path.removesuffix(usual) if path.endswith(usual) else ""
        if not path.endswith(usual):
            chat["path"] = path
        return KnownGuess(chat, base, call.request.model, answer)
    return None


def _read(format: Format, data: bytes) -> ChatResponse:
    decoder = format.decoder()
    read = Accumulator()
    for event in (*decoder.feed(data), *decoder.finish()):
        read.add(event)
    if decoder.failure is not None:
        raise decoder.failure
    return read.response()


def _usual_path(format: Format) -> str:
    try:
        next(format.encode_request(ChatRequest.of("Hello", model="any")))
    except StopIteration as done:
        path: str = done.value.path
        return path
    raise AssertionError("a known format prepares nothing")
