"""A HAR file with a chat on a WebSocket becomes a recipe with `[chat.socket]`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import parse_recipe
from berlin.types import Finished
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.sources.frames import chat_on_socket
from berlin.workbench.draft.sources.har import read_har
from berlin.workbench.draft.writer import Draft, write_draft
from support.recipes import ask, fake_and_client

ID = "3f2b8a54-0c1d-4e7a-9b61-5d2f7c9e8a10"
TOKEN = "tok-8f3a1c7e5b9d2046"

Frames = list[tuple[str, Any]]


def quoted(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


PLAIN: Frames = [
    ("receive", {"type": "welcome", "v": 1}),
    ("send", {"type": "join", "room": "lobby"}),
    ("receive", {"type": "joined", "session": "se-4711"}),
    ("send", {"type": "ask", "id": ID, "session": "se-4711", "text": "Hello"}),
    ("receive", {"type": "echo", "text": "Hello"}),
    ("receive", {"type": "piece", "id": ID, "text": "Good "}),
    ("receive", {"type": "ping"}),
    ("send", {"type": "pong"}),
    ("receive", {"type": "piece", "id": ID, "text": "day, Ann."}),
    ("receive", {"type": "done"}),
]
SOCKET_IO: Frames = [
    ("send", "2probe"),
    ("receive", "3probe"),
    ("send", "5"),
    ("send", "40" + quoted({"token": TOKEN})),
    ("receive", '40{"sid":"x1"}'),
    ("receive", "2"),
    ("send", "3"),
    ("send", "420" + quoted(["chat message", {"text": "Hello", "room": 4}])),
    ("receive", "430[]"),
    ("receive", "42" + quoted(["token", {"t": "Good "}])),
    ("receive", "42" + quoted(["token", {"t": "day, Ann."}])),
    ("receive", "42" + quoted(["finished", {}])),
]
SIGNALR: Frames = [
    ("send", '{"protocol":"json","version":1}\x1e'),
    ("receive", "{}\x1e"),
    ("send", quoted({"arguments": ["Hello"], "target": "Ask", "type": 1}) + "\x1e"),
    ("receive", quoted({"type": 1, "target": "Chunk", "arguments": ["Good "]}) + "\x1e"),
    (
        "receive",
        quoted({"type": 1, "target": "Chunk", "arguments": ["day, Ann."]})
        + "\x1e"
        + quoted({"type": 6})
        + "\x1e",
    ),
    ("receive", quoted({"type": 1, "target": "Done", "arguments": []}) + "\x1e"),
]
SIGNALR_STREAM: Frames = [
    *SIGNALR[:2],
    (
        "send",
        quoted({"arguments": ["Hello"], "invocationId": "0", "target": "Ask", "type": 4}) + "\x1e",
    ),
    ("receive", quoted({"type": 2, "invocationId": "0", "item": "Good "}) + "\x1e"),
    ("receive", quoted({"type": 2, "invocationId": "0", "item": "day, Ann."}) + "\x1e"),
    ("receive", quoted({"type": 3, "invocationId": "0"}) + "\x1e"),
]
GRAPHQL: Frames = [
    ("send", {"type": "connection_init", "payload": {"Authorization": f"Bearer {TOKEN}"}}),
    ("receive", {"type": "connection_ack"}),
    (
        "send",
        {
            "id": "a-1",
            "type": "subscribe",
            "payload": {"query": "subscription Q { ask }", "variables": {"q": "Hello"}},
        },
    ),
    ("receive", {"id": "a-1", "type": "next", "payload": {"data": {"ask": {"delta": "Good "}}}}),
    (
        "receive",
        {"id": "a-1", "type": "next", "payload": {"data": {"ask": {"delta": "day, Ann."}}}},
    ),
    ("receive", {"id": "a-1", "type": "complete"}),
]
GRADIO_3: Frames = [
    ("receive", {"msg": "send_hash"}),
    ("send", {"fn_index": 1, "session_hash": "8x2k9d0q1z"}),
    ("receive", {"msg": "estimation", "rank": 0, "queue_size": 1}),
    ("receive", {"msg": "send_data"}),
    ("send", {"data": ["Hello", None], "fn_index": 1, "session_hash": "8x2k9d0q1z"}),
    ("receive", {"msg": "process_starts"}),
    ("receive", {"msg": "process_generating", "output": {"data": ["Good "]}}),
    ("receive", {"msg": "process_generating", "output": {"data": ["Good day, Ann."]}}),
    ("receive", {"msg": "process_completed", "output": {"data": ["Good day, Ann."]}}),
]
CHATS: dict[str, tuple[str, Frames, str]] = {
    "plain JSON": ("wss://chat.example.com/ws", PLAIN, "json"),
    "Socket.IO": (
        "wss://chat.example.com/socket.io/?EIO=4&transport=websocket&sid=pOlL",
        SOCKET_IO,
        "socket.io",
    ),
    "SignalR, invocations": ("wss://chat.example.com/hub", SIGNALR, "signalr"),
    "SignalR, a stream": ("wss://chat.example.com/hub", SIGNALR_STREAM, "signalr"),
    "GraphQL": ("wss://chat.example.com/graphql", GRAPHQL, "graphql"),
    "Gradio's queue on a WebSocket": ("wss://chat.example.com/queue/join", GRADIO_3, "json"),
}


def saved(url: str, frames: Frames) -> list[Exchange]:
    """Return what Chrome saves of a socket."""
    messages = [
        {"type": kind, "opcode": 1, "data": data if isinstance(data, str) else quoted(data)}
        for kind, data in frames
    ]
    entry = {
        "request": {"method": "GET", "url": url, "headers": []},
        "response": {"status": 101, "headers": []},
        "_webSocketMessages": messages,
    }
    return read_har(json.dumps({"log": {"entries": [entry]}}).encode())


def drafted(url: str, frames: Frames) -> Draft:
    exchanges = saved(url, frames)
    found = chat_on_socket(exchanges, "Hello")
    assert found is not None
    at, exchanges[found[0]] = found
    return write_draft(exchanges, at, "Hello", "draft")


@pytest.mark.parametrize("name", CHATS)
async def test_the_draft_of_each_protocol_works(name: str) -> None:
    """It reads the recorded answer, asks a fake by the same protocol, and holds no token."""
    url, frames, protocol = CHATS[name]
    draft = drafted(url, frames)
    assert (draft.answer, draft.missing) == ("Good day, Ann.", []), draft.text
    assert TOKEN not in draft.text
    recipe = parse_recipe(draft.text, "draft.toml")
    assert recipe.chat.socket is not None
    assert recipe.chat.socket.protocol == protocol
    assert draft.credentials.get("api_key", TOKEN) == TOKEN
    answers = ScriptedProvider(["Fine.", Finished()])
    async with fake_and_client(recipe, answers) as provider:
        assert (await ask(provider, "How are you?")).text == "Fine."
    assert answers.requests[0].messages[-1].text == "How are you?"


def test_what_is_said_before_the_question() -> None:
    """Messages to wait for and to send, their values, pings, and the id of the question."""
    chat = parse_recipe(drafted(*CHATS["plain JSON"][:2]).text, "draft.toml").chat
    said = {"type": "ask", "id": "{uuid4}", "session": "{made_session}", "text": "{prompt}"}
    assert (chat.path, chat.json) == ("/ws", said)
    assert chat.socket is not None
    assert [(s.when, s.take, s.send) for s in chat.socket.before] == [
        ({"/type": "welcome"}, {}, {"type": "join", "room": "lobby"}),
        ({"/type": "joined"}, {"made_session": "/session"}, None),
    ]
    assert [(r.when, r.send) for r in chat.socket.replies] == [
        ({"/type": "ping"}, {"type": "pong"})
    ]
    assert chat.socket.only == {"/id": "{uuid4}"}
    assert chat.described_stream is not None
    assert chat.described_stream.kinds["done"] == "end"


def test_a_connection_that_began_by_polling() -> None:
    """Its id is left out of the URL, and its token is a placeholder where the client connects."""
    chat = parse_recipe(drafted(*CHATS["Socket.IO"][:2]).text, "draft.toml").chat
    assert chat.query == {"EIO": "4", "transport": "websocket"}
    assert chat.json == {"event": "chat message", "data": {"text": "{prompt}", "room": 4}}
    assert chat.socket is not None
    assert chat.socket.auth == {"token": "{token}"}


def test_another_prompt_is_not_found() -> None:
    """A socket on which nobody typed that is not the chat."""
    assert chat_on_socket(saved(*CHATS["plain JSON"][:2]), "Something else") is None


def test_a_token_of_the_connection_is_followed() -> None:
    """SignalR asks for one before it opens the socket: that request becomes a step."""
    url = "wss://chat.example.com/hub?id=cT-4711-aBcD"
    (on_socket,) = saved(url, SIGNALR)
    negotiated = Exchange(
        Captured("POST", "https://chat.example.com/hub/negotiate?negotiateVersion=1"),
        b'{"connectionToken":"cT-4711-aBcD","negotiateVersion":1}',
    )
    exchanges = [negotiated, on_socket]
    found = chat_on_socket(exchanges, "Hello")
    assert found is not None
    at, exchanges[found[0]] = found
    chat = parse_recipe(write_draft(exchanges, at, "Hello", "draft").text, "draft.toml").chat
    assert chat.query == {"id": "{made_connectiontoken}"}
    (step,) = chat.prepare
    assert (step.path, step.take) == (
        "/hub/negotiate",
        {"made_connectiontoken": "/connectionToken"},
    )
