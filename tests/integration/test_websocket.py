"""Chats over a WebSocket: each protocol against a fake of the same recipe, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from berlin.errors import BerlinError, RateLimitError
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, TextDelta
from berlin.workbench.explain import explain
from support.recipes import ask, fake_and_client, recipe_of

TEXT = 'Hel|lo, "Änn"\u2028 {prompt} \x1e 🙂|\n\nend'
LOGIN: dict[str, Any] = {
    "flow": "login",
    "attach": {"cookie": "sid"},
    "steps": [{"path": "/login", "form": {"u": "{account}"}, "take": {"token": {"cookie": "sid"}}}],
}
KINDS = {"text": "text", "fin": "end", "oops": "error"}

CHATS: dict[str, dict[str, Any]] = {
    "json": {
        "json": {"type": "ask", "q": "{prompt}", "id": "{uuid4}", "hash": "{hash}"},
        "socket": {
            "before": [
                {"when": {"/msg": "send_hash"}, "take": {"hash": "/h"}, "send": {"hash": "{hash}"}},
                {"send": {"type": "join"}},
            ],
            "replies": [{"when": {"/type": "ping"}, "send": {"type": "pong"}}],
            "only": {"/id": "{uuid4}"},
            "last": {"type": "leave"},
        },
        "stream": {"text": "/t", "kind": "/type", "kinds": KINDS, "error": "/why"},
    },
    "socket.io": {
        "query": {"EIO": "4", "transport": "websocket"},
        "json": {"event": "ask", "data": {"q": "{prompt}"}},
        "socket": {
            "protocol": "socket.io",
            "auth": {"token": "{token}"},
            "before": [{"send": {"event": "hello", "args": []}}, {"when": {"/event": "ready"}}],
        },
        "stream": {"text": "/data/t", "kind": "/event", "kinds": KINDS, "error": "/data/why"},
    },
    "signalr": {
        "prepare": [{"path": "/negotiate", "take": {"id": "/connectionToken"}}],
        "query": {"id": "{id}"},
        "json": {"target": "Ask", "arguments": ["{prompt}"]},
        "socket": {"protocol": "signalr"},
        "stream": {
            "text": "/arguments/0/t",
            "kind": "/target",
            "kinds": KINDS,
            "error": "/arguments/0/why",
        },
    },
    "graphql": {
        "json": {
            "query": "subscription($q: String!) { ask(q: $q) { t } }",
            "variables": {"q": "{prompt}"},
        },
        "socket": {"protocol": "graphql", "auth": {"key": "{token}"}},
        "stream": {
            "text": "/payload/data/ask/t",
            "kind": "/type",
            "kinds": {"next": "text", "complete": "end", "error": "error"},
            "error": "/payload/0/message",
        },
    },
    "text": {
        "json": {"data": "{prompt}"},
        "socket": {"protocol": "text"},
        "stream": {"text": "/data", "error_message": "/never"},
    },
}


def chat_of(name: str) -> dict[str, Any]:
    chat = {**CHATS[name], "path": "/ws"}
    stream = {"framing": "ndjson", "others": "skip", **chat["stream"]}
    ends = {"ends": "finish_reason"} if "kinds" in stream else {}
    return {**chat, "stream": {**stream, **ends}}


@pytest.mark.parametrize("name", CHATS)
async def test_each_protocol(name: str) -> None:
    """Every piece of text comes as it was sent, and each request has a socket of its own."""
    recipe = recipe_of(chat_of(name), LOGIN)
    pieces = [piece for piece in TEXT.split("|") if name != "text" or piece.strip()]
    answers = ScriptedProvider([*map(TextDelta, pieces), Finished()])
    async with fake_and_client(recipe, answers) as provider:
        for prompt in ("Hi", 'one "two"\n{x}'):
            assert (await ask(provider, prompt)).text == "".join(pieces)
    assert [r.messages[-1].text for r in answers.requests] == ["Hi", 'one "two"\n{x}']
    assert "as a WebSocket" in explain(recipe)


@pytest.mark.parametrize("name", [name for name in CHATS if name != "text"])
async def test_an_error_in_the_middle(name: str) -> None:
    """What the service says of its error is told, after the text before it."""
    recipe = recipe_of(chat_of(name), LOGIN)
    answers = ScriptedProvider([TextDelta("a"), RateLimitError("too many now")])
    async with fake_and_client(recipe, answers) as provider:
        with pytest.raises(BerlinError, match="too many now"):
            await ask(provider, "Hi")


async def test_a_session_that_has_ended() -> None:
    """A handshake that is refused with 401 costs one more login, and not the caller."""
    recipe = recipe_of(chat_of("json"), LOGIN)
    answers = ScriptedProvider([TextDelta("a"), Finished()])
    async with fake_and_client(recipe, answers, lifetime_s=0.05) as provider:
        for _ in range(3):
            assert (await ask(provider, "Hi")).text == "a"
