"""Messages and requests: parsed once, at the edge."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from berlin import errors
from berlin.types import ChatRequest, ImagePart, Message, TextPart, Timeouts, parse_messages


def test_a_prompt_is_one_message_of_the_user() -> None:
    """A string is what the user says, an empty one too."""
    assert parse_messages("Hello") == (Message.of("user", "Hello"),)
    assert parse_messages("") == (Message.of("user", ""),)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_the_roles(role: Any) -> None:
    """Five roles are known."""
    assert parse_messages([{"role": role, "content": "x"}]) == (Message.of(role, "x"),)


def test_any_iterable_of_mappings_and_messages() -> None:
    """Lists, tuples and generators, of mappings and of ready messages, are all the same."""
    ready = Message("user", (TextPart("a"), ImagePart("https://example.org/a.png")))
    said = MappingProxyType({"role": "assistant", "content": "b", "name": "ignored"})
    expected = (ready, Message.of("assistant", "b"))
    assert parse_messages([ready, said]) == expected
    assert parse_messages((ready, said)) == expected
    assert parse_messages(message for message in (ready, said)) == expected


def test_the_text_of_a_message_is_that_of_its_text_parts() -> None:
    """Other parts have no text."""
    message = Message("user", (TextPart("a"), ImagePart("https://x.example"), TextPart("b")))
    assert message.text == "ab"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "messages is empty: give at least one message"),
        ((), "messages is empty: give at least one message"),
        (None, "messages must be a prompt or a list .*, not NoneType"),
        (5, "messages must be a prompt or a list .*, not int"),
        ({"role": "user", "content": "x"}, "messages must be a prompt or a list .*, not dict"),
        (b"Hello", "messages must be a prompt or a list of .*, not bytes"),
        (["Hello"], r"messages\[0\] must be .*, not str"),
        ([{"role": "user", "content": "x"}, None], r"messages\[1\] must be .*, not NoneType"),
        ([{"content": "x"}], r"messages\[0\]\.role is None; expected one of assistant, developer"),
        ([{"role": "User", "content": "x"}], r"messages\[0\]\.role is 'User'; expected one of"),
        ([{"role": [], "content": "x"}], r"messages\[0\]\.role is \[\]; expected one of"),
        ([{"role": "user"}], r"messages\[0\]\.content must be text, not NoneType"),
        ([{"role": "user", "content": None}], r"messages\[0\]\.content must be text, not NoneType"),
        ([{"role": "user", "content": ["x"]}], r"messages\[0\]\.content must be text, not list"),
        ([{"role": "user", "content": 5}], r"messages\[0\]\.content must be text, not int"),
    ],
)
def test_c22_messages_that_cannot_be_sent(messages: object, said: str) -> None:
    """What is no conversation is refused with its place; the error is a ValueError too."""
    with pytest.raises(errors.InvalidRequestError, match=rf"^{said}") as caught:
        parse_messages(messages)
    assert isinstance(caught.value, ValueError)


def test_a_long_wrong_role_is_shown_cut() -> None:
    """A role of 100 KB does not make an error of 100 KB."""
    with pytest.raises(errors.InvalidRequestError) as caught:
        parse_messages([{"role": "x" * 100_000, "content": "x"}])
    assert len(caught.value.message) < 200


def test_a_request() -> None:
    """A request takes its options by name; `None` counts as not given."""
    limits = Timeouts(total=5)
    request = ChatRequest.of("Hi", model="m", timeout=limits, temperature=0, top_p=None)
    assert request == ChatRequest(
        (Message.of("user", "Hi"),), "m", {"temperature": 0}, timeouts=limits
    )
    assert ChatRequest.of("Hi", model=None).model == ""
    assert ChatRequest.of("Hi").timeouts is None
