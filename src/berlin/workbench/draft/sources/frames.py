"""A chat on a WebSocket, as a browser saved its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from berlin.wire.json import decoded_or_none, encode_line
from berlin.workbench.draft.leaves import last_name, leaves, pointer
from berlin.workbench.draft.sources.captured import Captured, Exchange

_KINDS = frozenset({"type", "event", "kind", "op", "action", "cmd", "msgtype", "method"})


def chat_on_socket(
    exchanges: Sequence[Exchange], prompt: str | None
) -> tuple[int, Exchange] | None:
    """Return the socket on which a prompt was sent, as a chat, with its index; `None` without one.

    The message with the prompt becomes the body, what came after it the answer, and what was sent
    before it steps of `[chat.socket]`.
    """
    for at, exchange in enumerate(exchanges):
        for n, frame in enumerate(exchange.frames):
            if frame.is_sent and prompt and _carries(frame.data, prompt):
                return at, _chat(exchange, n)
    return None


def _chat(exchange: Exchange, asked: int) -> Exchange:
    frames = exchange.frames
    request = exchange.request
    headers = tuple(h for h in request.headers if not h[0].lower().startswith("sec-websocket"))
    question = decoded_or_none(frames[asked].data.encode())
    body = encode_line(question)
    answers = [
        f.data.replace("\n", " ") for f in frames[asked + 1 :] if not f.is_sent and f.data.strip()
    ]
    steps: list[dict[str, Any]] = []
    came: dict[str, Any] = {}
    for frame in frames[:asked]:
        message = decoded_or_none(frame.data.encode())
        if not isinstance(message, dict):
            continue
        if frame.is_sent:
            steps.append({**({"when": came} if came else {}), "send": message})
            came = {}
        else:
            came = _kind(message)
    if came:
        steps.append({"when": came})
    return Exchange(
        Captured("POST", request.url, (*headers, ("Content-Type", "application/json")), body),
        "\n".join(answers).encode(),
        200,
        exchange.headers,
        socket={"protocol": "json", **({"before": steps} if steps else {})},
    )


def _kind(message: dict[str, Any]) -> dict[str, Any]:
    """Return the member that says what a message is for, and its value."""
    for place, value in leaves(message):
        if last_name(place) in _KINDS and isinstance(value, str):
            return {pointer(place): value}
    return {}


def _carries(data: str, prompt: str) -> bool:
    message = decoded_or_none(data.encode())
    if not isinstance(message, dict):
        return False
    return any(isinstance(value, str) and prompt in value for _, value in leaves(message))
