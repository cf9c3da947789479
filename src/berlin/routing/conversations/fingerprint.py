"""Fingerprints of a client's history: equal only if the whole history is equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from berlin.types import ChatRequest, Message, OpaquePart, Part, TextPart, ToolCallPart

_encode = msgspec.msgpack.Encoder(enc_hook=str).encode


class Fingerprint(NamedTuple):
    """The history of a request.

    Attributes:
        before: the fingerprint of everything up to the last answer; `""` if there is none.
        known: the number of those messages.
        history: the state of the hash after the last message.
    """

    before: str
    known: int
    history: hashlib.blake2b

    def after(self, answer: Sequence[Part]) -> str:
        """Return the fingerprint of the history including the answer to it."""
        state = self.history.copy()
        state.update(_answer(answer))
        return state.hexdigest()


def fingerprint(scope: Sequence[str], request: ChatRequest) -> Fingerprint:
    """Return the fingerprint of a request's history.

    Members specific to a client's dialect (cache markers, item ids) are ignored. In the service's
    own answers, white space is ignored and a call is identified by its id: clients send answers
    back trimmed and with default arguments added.

    Args:
        scope: distinguishes this conversation from others with the same text: the tenant, the
            provider, the account.
        request: the request.
    """
    tools = [(t.name, t.description, t.parameters, t.hosted) for t in request.tools]
    key = (*scope, request.model, request.session_id, tools)
    state = hashlib.blake2b(_encode(key), digest_size=24)
    before, known = "", 0
    answer: list[Part] = []
    for n, message in enumerate(request.messages):
        if message.role == "assistant":
            answer += message.parts  # some clients send one answer as several messages
            continue
        if answer:
            state.update(_answer(answer))
            before, known = state.hexdigest(), n
            answer = []
        state.update(_said(message))
    if answer:
        # The last message is an answer, so there is no new turn to send.
        state.update(_answer(answer))
        before, known = "", 0
    return Fingerprint(before, known, state)


def _said(message: Message) -> bytes:
    return _frame(message.role, [_plain(part) for part in message.parts])


def _plain(part: Part) -> object:
    """Return a part without dialect-specific members; a dialect-specific part stays whole."""
    if isinstance(part, OpaquePart):
        return ["OpaquePart", part.extra.dialect, sorted(part.extra.members.items())]
    fields = [(name, getattr(part, name)) for name in part.__struct_fields__ if name != "extra"]
    return [type(part).__name__, [(name, _value(value)) for name, value in fields]]


def _value(value: object) -> object:
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _answer(parts: Iterable[Part]) -> bytes:
    parts = list(parts)
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    calls = [
        (part.name, part.id or _canonical(part.arguments))
        for part in parts
        if isinstance(part, ToolCallPart)
    ]
    return _frame("assistant", ["".join(text.split()), calls])


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments or "{}", strict=False), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _frame(role: str, content: object) -> bytes:
    """Return an unambiguous encoding of parts: each is prefixed with its length."""
    encoded = _encode([role, content])
    return len(encoded).to_bytes(8, "big") + encoded
