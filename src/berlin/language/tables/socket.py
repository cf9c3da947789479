"""The table `[chat.socket]` of a recipe: a chat over a WebSocket, and its compiled dialog."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    ContextLengthError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RequestRejectedError,
    ServiceUnavailableError,
)
from berlin.language.tables.stream import ERROR_CLASSES, ErrorWord
from berlin.language.values.template import Template
from berlin.wire.json import encode_line
from berlin.wire.pointer import MISSING, get_at, parse_pointer
from berlin.wire.snippet import snippet
from berlin.wire.sockets import PROTOCOLS, SUBPROTOCOLS, ProtocolName


class SocketStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables `[[chat.socket.before]]`: messages exchanged before the question.

    Attributes:
        when: pointers and the values expected at them in the message to wait for; without it,
            nothing is waited for.
        take: names of values in that message and pointers to them; they are placeholders in what
            follows.
        send: the message to send next, with placeholders.
    """

    when: dict[str, Any] = {}
    take: dict[str, str] = {}
    send: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.when and (self.take or self.send is None):
            raise ValueError("a step before the question needs `when`, or `send`, or both")


class SocketReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables `[[chat.socket.replies]]`: the reply sent whenever such a message arrives.

    Attributes:
        when: pointers and the values expected at them, such as those of a keep-alive message.
        send: the message to send back.
    """

    when: dict[str, Any]
    send: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.when:
            raise ValueError("a reply to every message would never end: say `when`")


class SocketMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.socket]` of a recipe: the chat goes over a WebSocket to `path`, and `json`
    of `[chat]` is the message with the question.

    Attributes:
        protocol: `json`, each message is JSON; `text`, each is plain text, `{"data": text}`;
            `socket.io`; `signalr`; `graphql` (graphql-transport-ws).
        subprotocols: the subprotocols offered in the handshake, if not those of the protocol.
        auth: what `socket.io` and `graphql` send when they connect, with placeholders.
        before: messages exchanged before the question.
        replies: replies sent whenever a matching message arrives.
        only: pointers and the values that identify messages of this answer, with placeholders;
            messages with other values belong to other answers.
        last: the message to send when the answer is complete, such as one that unsubscribes.
        close_codes: what the service's close codes mean: `authentication`,
            `permission`, `rate_limit`, `unavailable`, `rejected` or `context_length`.
    """

    protocol: ProtocolName = "json"
    subprotocols: list[str] = []
    auth: dict[str, Any] = {}
    before: list[SocketStep] = []
    replies: list[SocketReply] = []
    only: dict[str, str] = {}
    last: dict[str, Any] | None = None
    close_codes: dict[str, ErrorWord] = {}

    def __post_init__(self) -> None:
        if self.auth and self.protocol not in ("socket.io", "graphql"):
            raise ValueError(f"auth: not with protocol = {self.protocol!r}; send a first message")
        for code in self.close_codes:
            if not code.isdecimal() or not 1000 <= int(code[:5]) <= 4999:
                raise ValueError(f"close_codes: {code[:20]!r} is not a code from 1000 to 4999")
        if not all(
            name.isascii() and name.isprintable() and " " not in name for name in self.subprotocols
        ):
            raise ValueError("subprotocols: a name cannot be sent")


_Conditions = tuple[tuple[tuple[str, ...], Any], ...]


class CompiledSocket:
    """A `SocketMap`, ready for use. Raises ConfigurationError.

    Args:
        names: the placeholders that may be used in it.

    Attributes:
        used: the placeholders that do.
        taken: the names of the values taken from messages before the question.
    """

    def __init__(self, socket: SocketMap, names: Iterable[str]) -> None:
        known = frozenset(names)
        self.described = socket
        self.subprotocols = tuple(socket.subprotocols) or SUBPROTOCOLS.get(socket.protocol, ())
        self.auth = Template(socket.auth, known)
        templates = [self.auth]
        self.before: list[tuple[_Conditions, dict[str, tuple[str, ...]], Template | None]] = []
        for step in socket.before:
            take = {name: parse_pointer(pointer) for name, pointer in step.take.items()}
            known |= take.keys()
            send = None if step.send is None else Template(step.send, known)
            self.before.append((_conditions(step.when), take, send))
            templates += [send] if send is not None else []
        self.taken = {name for step in socket.before for name in step.take}
        self.replies = [(_conditions(r.when), Template(r.send, known)) for r in socket.replies]
        self.only = Template(socket.only, known)
        self.only_at = {pointer: parse_pointer(pointer) for pointer in socket.only}
        self.last = None if socket.last is None else Template(socket.last, known)
        templates += [self.only, *(send for _, send in self.replies)]
        templates += [self.last] if self.last is not None else []
        self.used = {name for template in templates for name in template.names} - self.taken


class Dialog:
    """One conversation; see `SocketDialog`.

    Args:
        question: makes the message with the question.
    """

    def __init__(
        self,
        socket: CompiledSocket,
        values: Mapping[str, Any],
        question: Callable[[Mapping[str, Any]], Any],
    ) -> None:
        self.subprotocols = socket.subprotocols
        self._socket = socket
        self._values = dict(values)
        self._question = question
        self._codec = PROTOCOLS[socket.described.protocol](socket.auth.render(values))
        self._step = 0
        self._is_asked = False
        self._only: dict[str, Any] = {}

    def begin(self) -> list[str]:
        """Return the first frames to send; see `SocketDialog`."""
        return [*self._codec.hello(), *self._advance()]

    def receive(self, frame: str) -> tuple[bytes, list[str]]:
        """Take a frame; see `SocketDialog`."""
        was_ready = self._codec.is_ready
        decoded = self._codec.decode(frame)
        replies = list(decoded.replies)
        if self._codec.is_ready and not was_ready:
            replies += self._advance()
        lines = []
        for document in decoded.documents:
            replies += self._replies_to(document)
            if not self._is_asked:
                replies += self._step_with(document)
            elif self._is_ours(document):
                lines.append(encode_line(document))
        if decoded.failure is not None:
            raise decoded.failure
        return b"".join(line + b"\n" for line in lines), replies

    def closed(self, code: int, reason: str) -> BerlinError | None:
        """Return the error that a close code means; see `SocketDialog`."""
        said = (
            f"the service closes the connection ({code}{f': {snippet(reason)}' if reason else ''})"
        )
        word = self._socket.described.close_codes.get(str(code))
        kind = _CLOSE_CODES.get(code) if word is None else ERROR_CLASSES[word]
        if kind is not None:
            return kind(said)
        if not self._is_asked:
            return ProtocolError(f"{said} before the question was sent")
        return None if code in _ORDERLY else ProtocolError(said)

    def question_with(self, values: Mapping[str, Any]) -> Any:
        """Return the message with the question; see `SocketDialog`."""
        return self._question({**self._values, **values})

    def end(self) -> list[str]:
        """Return the last frames to send; see `SocketDialog`."""
        last = self._socket.last
        if last is None or not self._is_asked:
            return self._codec.goodbye()
        return [self._codec.encode(last.render(self._values)), *self._codec.goodbye()]

    def _advance(self) -> list[str]:
        """Return the frames to send until a message has to be waited for."""
        frames: list[str] = []
        if not self._codec.is_ready or self._is_asked:
            return frames
        before = self._socket.before
        while self._step < len(before) and not before[self._step][0]:
            frames += self._sent(before[self._step][2])
            self._step += 1
        if self._step == len(before):
            self._is_asked = True
            self._only = self._socket.only.render(self._values)
            frames.append(self._codec.encode(self._question(self._values)))
        return frames

    def _step_with(self, document: Any) -> list[str]:
        """Return the frames to send after a message that may be the awaited one."""
        when, take, send = self._socket.before[self._step]
        if not _meets(document, when):
            return []
        for name, pointer in take.items():
            value = get_at(document, pointer)
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ProtocolError(f"a message has no {name} at /{'/'.join(pointer)}")
            self._values[name] = value
        self._step += 1
        return [*self._sent(send), *self._advance()]

    def _sent(self, send: Template | None) -> list[str]:
        return [] if send is None else [self._codec.encode(send.render(self._values))]

    def _replies_to(self, document: Any) -> list[str]:
        values = {**dict.fromkeys(self._socket.taken, ""), **self._values}
        return [
            self._codec.encode(send.render(values))
            for when, send in self._socket.replies
            if _meets(document, when)
        ]

    def _is_ours(self, document: Any) -> bool:
        for pointer, wanted in self._only.items():
            value = get_at(document, self._socket.only_at[pointer])
            if value is not MISSING and value is not None and str(value) != str(wanted):
                return False
        return True


# RFC 6455, 7.4.1; many services map HTTP statuses to 4400-4499.
_ORDERLY = frozenset({1000, 1001, 1005})
_CLOSE_CODES: dict[int, type[BerlinError]] = {
    1003: RequestRejectedError,
    1007: RequestRejectedError,
    1008: PermissionDeniedError,
    1009: ContextLengthError,
    1011: ServiceUnavailableError,
    1012: ServiceUnavailableError,
    1013: ServiceUnavailableError,
    4400: RequestRejectedError,
    4401: AuthenticationError,
    4403: PermissionDeniedError,
    4429: RateLimitError,
}


def _conditions(when: Mapping[str, Any]) -> _Conditions:
    for value in when.values():
        if isinstance(value, dict | list):
            raise ConfigurationError("when: a value is text, a number, true or false")
    return tuple((parse_pointer(pointer), value) for pointer, value in when.items())


def _meets(document: Any, conditions: _Conditions) -> bool:
    return all(get_at(document, pointer) == value for pointer, value in conditions)
