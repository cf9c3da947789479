"""A conversation remembers what was said."""

from __future__ import annotations

import pytest

from berlin.errors import InvalidRequestError, ServiceUnavailableError
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, Message, ToolCallDelta


def texts(provider: ScriptedProvider) -> list[tuple[str, str]]:
    return [(m.role, m.text) for m in provider.requests[-1].messages]


async def test_each_question_comes_with_what_was_said() -> None:
    """Questions and answers are kept in order; the system's part goes first, each time."""
    provider = ScriptedProvider(["one", Finished()], ["two", Finished()], ["three", Finished()])
    chat = provider.conversation(system="Be brief.", temperature=0)
    assert (await chat.ask("1")).text == "one"
    assert [piece async for piece in chat.text("2")] == ["two"]
    await chat.ask("3", temperature=1)
    assert texts(provider) == [
        ("system", "Be brief."),
        *(("user", "1"), ("assistant", "one"), ("user", "2"), ("assistant", "two")),
        ("user", "3"),
    ]
    assert [r.options["temperature"] for r in provider.requests] == [0, 0, 1]
    assert [m.role for m in chat.messages] == ["user", "assistant"] * 3


def test_a_conversation_without_a_loop() -> None:
    """The blocking forms share the history with the others."""
    provider = ScriptedProvider(["one", Finished()], ["two", Finished()])
    chat = provider.conversation(messages=[{"role": "user", "content": "0"}])
    assert chat.ask_sync("1").text == "one"
    assert list(chat.text_sync("2")) == ["two"]
    assert [m.text for m in chat.messages] == ["0", "1", "one", "2", "two"]


async def test_an_answer_that_fails_changes_nothing() -> None:
    """A failed answer, or one that is left, can be asked for again."""
    provider = ScriptedProvider(
        ["a", ServiceUnavailableError("gone")], ["a", "b", Finished()], ["good", Finished()]
    )
    chat = provider.conversation()
    with pytest.raises(ServiceUnavailableError):
        await chat.ask("1")
    pieces = chat.text("1")
    assert await anext(pieces) == "a"
    with pytest.raises(InvalidRequestError, match="still in progress"):
        await chat.ask("2")
    await pieces.aclose()
    assert chat.messages == ()
    await chat.ask("1")
    assert texts(provider) == [("user", "1")]


async def test_ids_of_the_service_go_along() -> None:
    """Where the service keeps conversations, its ids of this one and the last answer are sent."""
    provider = ScriptedProvider(
        ["one", Finished(conversation_id="c", message_id="m1")],
        ["two", Finished(message_id="m2")],
        ["three", Finished()],
    )
    chat = provider.conversation()
    for question in "123":
        await chat.ask(question)
    ids = [(r.conversation_id, r.parent_id) for r in provider.requests]
    assert ids == [("", ""), ("c", "m1"), ("c", "m2")]
    assert chat.conversation_id == "c"


async def test_calls_are_answered_by_their_results() -> None:
    """After a call of a tool its result comes first; services refuse anything else."""
    provider = ScriptedProvider(
        [ToolCallDelta(0, "1", "find", "{}"), Finished("tool_calls")], ["42", Finished()]
    )
    chat = provider.conversation(tools=[{"type": "function", "function": {"name": "find"}}])
    answer = await chat.ask("what?")
    assert answer.tool_calls[0].id == "1"
    with pytest.raises(InvalidRequestError, match="give their results first: 1"):
        await chat.ask("and now?")
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    assert (await chat.ask([result])).text == "42"
    assert [m.role for m in chat.messages] == ["user", "assistant", "tool", "assistant"]


async def test_a_message_is_a_question_too() -> None:
    """One `Message` needs no list around it."""
    provider = ScriptedProvider()
    await provider.conversation().ask(Message.of("user", "hi"))
    assert texts(provider) == [("user", "hi")]
