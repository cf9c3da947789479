"""A chat on a WebSocket, as a browser saved its messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.wire.json import decoded_or_none, encode_line
from berlin.wire.sockets import PROTOCOLS, ProtocolName
from berlin.wire.sockets.server import SERVERS
from berlin.wire.sockets.signalr import END
from berlin.workbench.draft.follow import UUID, free_name, is_link
from berlin.workbench.draft.leaves import last_name, leaves, pointer, said_as, texts_in
from berlin.workbench.draft.marks import KIND_NAMES
from berlin.workbench.draft.request import longest_text
from berlin.workbench.draft.sources.captured import Captured, Exchange, Frame


class _Message(msgspec.Struct, frozen=True):
    """A message of the chat, without what its protocol adds."""

    is_sent: bool
    document: dict[str, Any]


def chat_on_socket(
    exchanges: Sequence[Exchange], prompt: str | None
) -> tuple[int, Exchange] | None:
    """Return the socket on which a prompt was sent, as a chat, with its index; `None` without one.

    The message with the prompt becomes the body, what came after it the answer, and what was
    exchanged before it steps of `[chat.socket]`.
    """
    for at, exchange in enumerate(exchanges):
        protocol = _protocol_of(exchange, prompt)
        messages = list(_read(exchange.frames, protocol))
        for n, message in enumerate(messages):
            if message.is_sent and _carries(message.document, prompt):
                return at, _chat(exchange, protocol, messages, n)
    return None


def _sent(exchange: Exchange) -> Iterator[Frame]:
    return (frame for frame in exchange.frames if frame.is_sent)


def _protocol_of(exchange: Exchange, prompt: str | None) -> ProtocolName:
    frames = exchange.frames
    offered = exchange.request.header("sec-websocket-protocol")
    openings = (decoded_or_none(frame.data.encode()) for frame in _sent(exchange))
    if any(frame.data.endswith(END) for frame in frames):
        return "signalr"
    if "EIO" in exchange.request.query or any(f.data.startswith('0{"sid"') for f in frames):
        return "socket.io"
    if "graphql-transport-ws" in offered or any(
        isinstance(opening, dict) and opening.get("type") == "connection_init"
        for opening in openings
    ):
        return "graphql"
    return "text" if any(frame.data == prompt for frame in _sent(exchange)) else "json"


def _read(frames: Sequence[Frame], protocol: ProtocolName) -> Iterator[_Message]:
    """Yield the messages in the frames; a frame that cannot be read is left out."""
    client, server = PROTOCOLS[protocol]({}), SERVERS[protocol]()
    for frame in frames:
        documents: list[Any] = []
        try:
            if not frame.is_sent:
                documents = client.decode(frame.data).documents
            elif protocol == "signalr":
                whole = filter(None, frame.data.split(END))
                documents = [server.decode(one + END)[0] for one in whole]
            else:
                documents = [server.decode(frame.data)[0]]
        except BerlinError:
            continue
        for document in documents:
            if isinstance(document, dict):
                yield _Message(frame.is_sent, document)


def _opening(exchange: Exchange, protocol: ProtocolName) -> dict[str, Any]:
    """Return what the client sent to connect: the table `auth`."""
    server = SERVERS[protocol]()
    for frame in _sent(exchange):
        try:
            opening = server.opening(frame.data)
        except (BerlinError, AttributeError):
            continue
        if isinstance(opening, dict) and opening:
            return opening
    return {}


def _chat(
    exchange: Exchange, protocol: ProtocolName, messages: list[_Message], asked: int
) -> Exchange:
    question = _plain(messages[asked].document, protocol)
    answers = [message.document for message in messages[asked + 1 :] if not message.is_sent]
    socket: dict[str, Any] = {"protocol": protocol}
    if opening := _opening(exchange, protocol):
        socket["auth"] = opening
    steps, names = _steps(messages[:asked], question, protocol)
    if steps:
        socket["before"] = steps
    if replies := _replies(messages[asked + 1 :], protocol):
        socket["replies"] = replies
    if only := _only(question, answers):
        socket["only"] = only
    return Exchange(
        _handshake(exchange.request, encode_line(question)),
        b"\n".join(encode_line(document) for document in answers),
        200,
        exchange.headers,
        socket=socket,
        names=names,
    )


def _handshake(request: Captured, body: bytes) -> Captured:
    """Return the request that opens the socket, with the question as its body."""
    headers = tuple(h for h in request.headers if not h[0].lower().startswith("sec-websocket"))
    query, url = request.query, request.url
    if "EIO" in query and "sid" in query:
        # The id of a connection that began by polling: one that begins as a socket has none.
        del query["sid"]
        url = urlsplit(url)._replace(query=urlencode(query)).geturl()
    return Captured("POST", url, (*headers, ("Content-Type", "application/json")), body)


def _steps(
    messages: list[_Message], question: dict[str, Any], protocol: ProtocolName
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the steps before a question, and the placeholders of the values that they take."""
    steps: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    sent = [question, *(m.document for m in messages if m.is_sent)]
    carried = {str(value) for document in sent for _, value in leaves(document)}
    waits: dict[str, Any] = {}
    for message in messages:
        if message.is_sent:
            steps.append({**waits, "send": _plain(message.document, protocol)})
            waits = {}
            continue
        taken = {}
        for place, value in leaves(message.document):
            text = str(value)
            if text in carried and text not in names and is_link(last_name(place), text):
                names[text] = free_name(f"made_{last_name(place)}", {*names.values()})
                taken[names[text]] = pointer(place)
        kind = _kind(message.document)
        if kind and ("take" not in waits or taken):
            if "take" in waits:
                steps.append(waits)
            waits = {"when": kind, **({"take": taken} if taken else {})}
    if waits:
        steps.append(waits)
    return steps, names


def _replies(messages: list[_Message], protocol: ProtocolName) -> list[dict[str, Any]]:
    """Return the replies to keep-alive messages: a ping that is followed by a pong."""
    found = []
    for before, after in pairwise(messages):
        kind = _kind(before.document)
        said = [value for value in kind.values() if isinstance(value, str)]
        is_ping = any("ping" in word.lower() or "heartbeat" in word.lower() for word in said)
        if is_ping and not before.is_sent and after.is_sent:
            reply = {"when": kind, "send": _plain(after.document, protocol)}
            if reply not in found:
                found.append(reply)
    return found


def _only(question: dict[str, Any], answers: list[dict[str, Any]]) -> dict[str, str]:
    """Return where the answers repeat the question's own id."""
    ids = [
        value for _, value in leaves(question) if isinstance(value, str) and UUID.fullmatch(value)
    ]
    if len(set(ids)) != 1:
        return {}
    places = [pointer(p) for answer in answers for p, value in leaves(answer) if value == ids[0]]
    return dict.fromkeys(places[:1], "{uuid4}")


def _plain(document: dict[str, Any], protocol: ProtocolName) -> dict[str, Any]:
    """Return a message as a recipe writes it."""
    if protocol == "signalr" and document.get("type") == 1:
        return {name: value for name, value in document.items() if name != "type"}
    if protocol != "socket.io":
        return document
    args = document["args"]
    more = {"data": args[0]} if len(args) == 1 else {"args": args} if args else {}
    return {"event": document["event"], **more}


def _kind(message: dict[str, Any]) -> dict[str, Any]:
    """Return the member that says what a message is for, and its value."""
    found = {
        name: (place, value)
        for place, value in reversed(list(leaves(message)))
        if (name := last_name(place)) in KIND_NAMES and isinstance(value, str | int)
    }
    place, value = next((found[name] for name in KIND_NAMES if name in found), ((), None))
    return {pointer(place): value} if place else {}


def _carries(document: dict[str, Any], prompt: str | None) -> bool:
    if prompt is not None:
        return bool(said_as(prompt, texts_in(document)))
    try:
        return " " in longest_text(leaves(document))
    except ConfigurationError:
        return False
