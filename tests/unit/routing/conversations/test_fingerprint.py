"""When two histories count as one, and when not."""

from __future__ import annotations

import pytest

from berlin.routing.conversations.fingerprint import fingerprint
from berlin.types import (
    ChatRequest,
    Extra,
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

USER, ON = Message.of("user", "hi"), Message.of("user", "on")
CALL = ToolCallPart("1", "run", '{"a": 1, "b": 2}')
SAID = Message("assistant", (TextPart("I look."), CALL, TextPart("Then I tell.")))


def _before(*messages: Message, scope: tuple[str, ...] = (), **more: object) -> str:
    return fingerprint(scope, ChatRequest(messages, **more)).before


def test_the_answer_is_found_again() -> None:
    """What stands behind an answer is what the next turn has before it."""
    first = fingerprint((), ChatRequest((USER,)))
    assert first.before == ""
    next_turn = fingerprint((), ChatRequest((USER, SAID, ON)))
    assert first.after(SAID.parts) == next_turn.before
    assert next_turn.known == 2


@pytest.mark.parametrize(
    "again",
    [
        [Message("assistant", (TextPart("I look.Then I tell.\n"), CALL))],
        [
            Message.of("assistant", "I look.\n"),
            Message("assistant", (CALL,)),
            Message.of("assistant", "Then I tell."),
        ],
        [Message("assistant", (ReasoningPart("hm"), *SAID.parts))],
        [
            Message(
                "assistant",
                (
                    TextPart("I look. Then I tell.", Extra("anthropic", {"cache_control": {}})),
                    ToolCallPart("1", "run", '{"b":2,"a":1,"quiet":false}'),
                ),
            )
        ],
    ],
)
def test_an_answer_that_a_client_wrote_anew(again: list[Message]) -> None:
    """Blanks, split messages, reasoning, marks and defaults in arguments make no difference."""
    assert _before(USER, *again, ON) == _before(USER, SAID, ON)


@pytest.mark.parametrize(
    "other",
    [
        (Message.of("user", "hi "), SAID, ON),
        (Message.of("system", "hi"), SAID, ON),
        (USER, Message.of("assistant", "I look"), ON),
        (USER, Message("assistant", (TextPart("I look.Then I tell."),)), ON),
        (USER, Message("assistant", (*SAID.parts, ToolCallPart("2", "run", "{}"))), ON),
        (USER, USER, SAID, ON),
        (Message("user", (TextPart("h"), TextPart("i"))), SAID, ON),
        (Message("user", (TextPart("hi"), ImagePart("data:,"))), SAID, ON),
        (Message("user", (ToolResultPart("1", "hi"),)), SAID, ON),
    ],
)
def test_another_history(other: tuple[Message, ...]) -> None:
    """Any other difference in what was said makes another conversation."""
    assert _before(*other) != _before(USER, SAID, ON)


def test_another_client() -> None:
    """Tenant, model, tools, session: each tells conversations with the same words apart."""
    kinds = [
        _before(USER, SAID, ON),
        _before(USER, SAID, ON, scope=("ann",)),
        _before(USER, SAID, ON, model="m"),
        _before(USER, SAID, ON, session_id="s"),
        _before(USER, SAID, ON, tools=(Tool("run"),)),
        _before(USER, SAID, ON, tools=(Tool("run", "It runs."),)),
    ]
    assert len(set(kinds)) == len(kinds)


def test_nothing_new_goes_on_with_nothing() -> None:
    """A history that ends with an answer has no turn to send: it begins a conversation."""
    assert _before(USER, SAID) == ""
