"""Which session a client means."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import CIMultiDict

from berlin.gateway.session import MAX_CHARS, session_of
from berlin.types import ChatRequest, Extra, Message


def _request(**members: Any) -> ChatRequest:
    return ChatRequest((Message.of("user", "hi"),), extra=Extra("openai", members))


@pytest.mark.parametrize(
    "name", ["x-claude-code-session-id", "session-id", "X-Session-Id", "x-session-affinity"]
)
def test_headers_of_agents(name: str) -> None:
    """Claude Code, Codex and others name their session in a header."""
    assert session_of(CIMultiDict({name: "s1"}), _request()) == "s1"


@pytest.mark.parametrize(
    "members",
    [
        {"prompt_cache_key": "s1"},
        {"conversation_id": "s1"},
        {"client_metadata": {"session_id": "s1"}},
        {"metadata": {"user_id": '{"device_id": "d", "session_id": "s1"}'}},
        {"metadata": {"session_id": "s1"}, "prompt_cache_key": None},
    ],
)
def test_members_of_the_body(members: dict[str, Any]) -> None:
    """Others name it in the body."""
    assert session_of(CIMultiDict(), _request(**members)) == "s1"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"metadata": {"user_id": "{broken"}},
        {"metadata": {"user_id": "[1]"}},
        {"metadata": [1]},
        {"prompt_cache_key": 7},
    ],
)
def test_none(members: dict[str, Any]) -> None:
    """Without one, and with what is none, there is no session."""
    assert session_of(CIMultiDict(), _request(**members)) == ""


def test_the_user_of_claude_code() -> None:
    """Claude Code writes its session into the id of the user."""
    user = '{"device_id": "d", "session_id": "s1"}'
    request = ChatRequest((Message.of("user", "hi"),), options={"user": user})
    assert session_of(CIMultiDict(), request) == "s1"


def test_a_header_of_ones_own_goes_first_and_none_is_endless() -> None:
    """The configured header counts most; an id is cut where it is too long."""
    headers = CIMultiDict({"X-My": "mine", "Session-Id": "x" * 9_000})
    assert session_of(headers, _request(), ["X-My"]) == "mine"
    assert len(session_of(headers, _request())) == MAX_CHARS
