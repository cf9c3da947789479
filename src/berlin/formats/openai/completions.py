"""OpenAI's older completions, for serving only: a prompt is a chat of one message.

Source: OpenAI's API reference. No service here continues a text: each answers a chat. So requests
    for the probabilities of a text, or for an infill, are refused.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.client_request import (
    check_count,
    check_model,
    check_numbers,
    decode_member,
    decode_typed,
)
from berlin.formats.contract import ClientCall
from berlin.formats.encoding import EventEncoder
from berlin.formats.openai.encoder import encode_error, write_usage
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.formats.openai.table import DONE
from berlin.formats.tokens import TokenCount, usage_of
from berlin.types import ChatRequest, ChatResponse, Finished, FinishReason, Message, TextDelta
from berlin.wire.json import encode_line

_OPTIONS = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "stop")
_REFUSED = ("suffix", "echo", "logprobs")


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    """A request. Unlisted members are ignored."""

    prompt: Raw | UnsetType = UNSET
    model: str | UnsetType = UNSET
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None


_DECODER = msgspec.json.Decoder(_Body)


class OpenAICompletionsFormat(OpenAIChatFormat):
    """The format of `/v1/completions` for serving only.

    As a client it is the chat's, which covers everything a completion can do.
    """

    def decode_request(self, body: bytes) -> ClientCall:
        """Decode a client's request; see `Format`."""
        sent = decode_typed(body, _DECODER)
        for param in ("n", "best_of"):
            if getattr(sent, param) not in (None, 1):
                raise InvalidRequestError.about(param, "only one answer at a time: leave it out")
        for param in _REFUSED:
            if getattr(sent, param):
                raise InvalidRequestError.about(param, "chat services cannot do that: leave it out")
        options = {name: getattr(sent, name) for name in _OPTIONS}
        options["max_tokens"] = check_count("max_tokens", sent.max_tokens)
        request = ChatRequest(
            (Message.of("user", _read_prompt(sent.prompt)),),
            check_model(sent.model),
            check_numbers(options),
        )
        usage = sent.stream_options is not None and bool(sent.stream_options.include_usage)
        return ClientCall(request, bool(sent.stream), usage)

    def encoder(self, call: ClientCall) -> CompletionsEncoder:  # type: ignore[override]  # its own
        """Return an encoder for the streamed answer to a call."""
        return CompletionsEncoder(call)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return the whole answer to a call."""
        choice = _choice(response.text, response.finish_reason)
        document = {
            **_head(call),
            "choices": [choice],
            "usage": write_usage(usage_of(call.request, response)),
        }
        return encode_line(document)


class CompletionsEncoder(EventEncoder):
    """Writes one answer as chunks of text; see `EventEncoder`. It carries only text."""

    def __init__(self, call: ClientCall) -> None:
        self._include_usage = call.include_usage
        self._count = TokenCount(call.request)
        self._head = encode_line(_head(call))[:-1]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the frame that ends an answer with an error."""
        return b"data: %b\n\n" % encode_error(error)

    def keep_alive(self) -> bytes:
        """Return a chunk without text."""
        return self._chunk(_choice("", None))

    def _encode_text(self, event: TextDelta) -> bytes:
        self._count.add(event.text)
        return self._chunk(_choice(event.text, None))

    def _encode_end(self, event: Finished) -> bytes:
        parts = [self._chunk(_choice("", event.reason))]
        if self._include_usage:
            usage = encode_line(write_usage(self._count.usage))
            parts.append(b'data: %b,"choices":[],"usage":%b}\n\n' % (self._head, usage))
        return b"".join([*parts, b"data: %b\n\n" % DONE])

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return b'data: %b,"choices":[%b]}\n\n' % (self._head, encode_line(choice))


def _head(call: ClientCall) -> dict[str, Any]:
    return {
        "id": f"cmpl-{secrets.token_hex(16)}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.request.model,
    }


def _choice(text: str, reason: FinishReason | None) -> dict[str, Any]:
    reason = "stop" if reason == "tool_calls" else reason
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}


def _read_prompt(raw: Raw | UnsetType) -> str:
    prompt = decode_member(raw, "prompt")
    match prompt:
        case str(text) | [str(text)] if text:
            return text
        case [str(), *_]:
            raise InvalidRequestError.about("prompt", "only one prompt at a time")
        case [int() | list(), *_]:
            raise InvalidRequestError.about("prompt", "must be text: chat services take no tokens")
    raise InvalidRequestError.about("prompt", "must be text that is not empty")
