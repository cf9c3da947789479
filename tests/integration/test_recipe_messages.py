"""How the messages of a conversation stand in what a recipe sends."""

from __future__ import annotations

from pathlib import Path

from berlin import ChatRequest, Message
from berlin.types import ImagePart, TextPart
from support.described import body_of, refused_for

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi!"},
    {"role": "developer", "content": "In German."},
    {"role": "user", "content": "And now?"},
]


async def test_messages_as_an_array(tmp_path: Path) -> None:
    """Messages keep their order and roles; a developer is a system to a service without one."""
    chat = """
path = "/chat"
json = { messages = "{messages}" }
[chat.messages]
form = "array"
"""
    assert (await body_of(tmp_path, chat, TALK))["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "system", "content": "In German."},
        {"role": "user", "content": "And now?"},
    ]


async def test_messages_with_other_names_and_roles(tmp_path: Path) -> None:
    """The recipe says what one message looks like, and what roles are called."""
    chat = """
path = "/chat"
json = { contents = "{messages}" }
[chat.messages]
form = "array"
item = { who = "{role}", parts = [{ text = "{text}" }], v = 1 }
roles = { user = "human", assistant = "model", system = "sys" }
"""
    assert (await body_of(tmp_path, chat, TALK))["contents"] == [
        {"who": who, "parts": [{"text": text}], "v": 1}
        for who, text in (
            ("sys", "Be brief."),
            ("human", "Hello"),
            ("model", "Hi!"),
            ("sys", "In German."),
            ("human", "And now?"),
        )
    ]


async def test_text_that_looks_like_a_placeholder(tmp_path: Path) -> None:
    """What a user writes is never a placeholder."""
    chat = """
path = "/chat"
json = { m = "{messages}", sys = "{system}", s = "[{model}]" }
[chat.messages]
form = "array"
system = "apart"
"""
    talk = [{"role": "system", "content": "{model}"}, {"role": "user", "content": "{role} {text}"}]
    assert await body_of(tmp_path, chat, talk, model="{system}") == {
        "m": [{"role": "user", "content": "{role} {text}"}],
        "sys": "{model}",
        "s": "[{system}]",
    }


APART = """
path = "/chat"
json = { system = "{system}", messages = "{messages}" }
[chat.messages]
form = "array"
system = "apart"
"""


async def test_system_apart(tmp_path: Path) -> None:
    """What the system says stands apart; if it says nothing, the member is left out."""
    body = await body_of(tmp_path, APART, TALK)
    assert body["system"] == "Be brief.\n\nIn German."
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert await body_of(tmp_path, APART, "Hi") == {"messages": [{"role": "user", "content": "Hi"}]}
    system = ChatRequest.of(TALK[:1])
    assert "messages" in await refused_for(tmp_path, APART, system)


async def test_system_apart_from_a_prompt(tmp_path: Path) -> None:
    """A single question stays as it is, with the system beside it."""
    chat = APART.replace('messages = "{messages}"', 'q = "{prompt}"').replace("array", "prompt")
    assert await body_of(tmp_path, chat, [TALK[0], TALK[1]]) == {
        "system": "Be brief.",
        "q": "Hello",
    }


LAST = """
path = "/chat"
json = { q = "{prompt}", conversation = "{conversation_id}", parent = "{parent_id}" }
[chat.messages]
form = "last"
"""


async def test_only_the_last_message(tmp_path: Path) -> None:
    """In a conversation that the service keeps, only the last message is sent."""
    body = await body_of(tmp_path, LAST, TALK, conversation_id="c1", parent_id="m7")
    assert body == {"q": "And now?", "conversation": "c1", "parent": "m7"}
    body = await body_of(tmp_path, LAST, TALK)
    assert body == {
        "q": "System: Be brief.\n\nUser: Hello\n\nAssistant: Hi!\n\nSystem: In German.\n\n"
        "User: And now?\n\nAssistant:"
    }


async def test_only_text(tmp_path: Path) -> None:
    """A message that holds more than text is refused before anything is sent."""
    parts = (TextPart("What is it?"), ImagePart("https://example.com/a.png"))
    talk = (Message("user", parts),)
    for chat in (LAST, APART):
        said = await refused_for(tmp_path, chat, ChatRequest(talk))
        assert "accepts only text" in said
