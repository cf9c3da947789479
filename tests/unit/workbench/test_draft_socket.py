"""A HAR file with a chat on a WebSocket becomes a recipe with `[chat.socket]`."""

from __future__ import annotations

import json
from typing import Any

from berlin.recipes.recipe import parse_recipe
from berlin.workbench.draft.sources.frames import chat_on_socket
from berlin.workbench.draft.sources.har import read_har
from berlin.workbench.draft.writer import write_draft

FRAMES: list[tuple[str, Any]] = [
    ("receive", {"type": "welcome", "v": 1}),
    ("send", {"type": "join", "room": "lobby"}),
    ("receive", {"type": "joined"}),
    ("send", {"type": "ask", "id": "3f2b8a54-0c1d-4e7a-9b61-5d2f7c9e8a10", "text": "Hello"}),
    ("receive", {"type": "echo", "text": "Hello"}),
    ("receive", {"type": "piece", "text": "Good "}),
    ("receive", {"type": "piece", "text": "day, Ann."}),
    ("receive", {"type": "done"}),
]
ENTRY = {
    "request": {"method": "GET", "url": "wss://chat.example.com/ws", "headers": []},
    "response": {"status": 101, "headers": []},
    "_webSocketMessages": [
        {"type": kind, "opcode": 1, "data": json.dumps(data)} for kind, data in FRAMES
    ],
}


def test_the_messages_become_a_socket() -> None:
    """The question, what is said before it, and how the answer is read; also when it was echoed."""
    exchanges = read_har(json.dumps({"log": {"entries": [ENTRY]}}).encode())
    found = chat_on_socket(exchanges, "Hello")
    assert found is not None
    at, exchanges[found[0]] = found
    draft = write_draft(exchanges, at, "Hello", "draft")
    assert (draft.answer, draft.missing) == ("Good day, Ann.", []), draft.text
    chat = parse_recipe(draft.text, "draft.toml").chat
    assert (chat.path, chat.json) == ("/ws", {"type": "ask", "id": "{uuid4}", "text": "{prompt}"})
    assert chat.socket is not None
    assert chat.socket.protocol == "json"
    assert [(s.when, s.send) for s in chat.socket.before] == [
        ({"/type": "welcome"}, {"type": "join", "room": "lobby"}),
        ({"/type": "joined"}, None),
    ]
    assert chat.described_stream is not None
    assert chat.described_stream.kinds["done"] == "end"
    assert chat_on_socket(exchanges, "Something else") is None
