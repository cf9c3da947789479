"""What a client's dialect has and a described service has not is named, or refused by its table."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import Format
from berlin.formats.openai.format import OpenAIChatFormat
from support.formats import sent
from support.recipes import PLAIN_CHAT, recipe_of

OPENAI, ANTHROPIC = OpenAIChatFormat("m"), AnthropicMessagesFormat("m")


def dropped(client: Format, **members: Any) -> tuple[str, ...]:
    """Return what a described service names as dropped of a request."""
    asked: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    body = json.dumps({**asked, **members}).encode()
    service = recipe_of(PLAIN_CHAT).format()
    return sent(service, client.decode_request(body).request).dropped


def test_members_are_named() -> None:
    """Of the request, its messages and their parts; what has no effect is left out silently."""
    cached = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    thought = {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    asked = {"role": "user", "content": [cached], "name": "ann"}
    assert dropped(OPENAI, service_tier="flex", store=False, messages=[asked, thought, asked]) == (
        "service_tier",
        "messages.name",
        "content.cache_control",
        "messages.reasoning",
    )
    assert dropped(OPENAI, reasoning_effort="high") == ("reasoning_effort",)
    effort = {"type": "enabled", "budget_tokens": 2000}
    assert dropped(ANTHROPIC, thinking=effort, max_tokens=9) == ("reasoning_effort",)


def test_what_would_change_the_answer_is_refused() -> None:
    """The error names the member."""
    with pytest.raises(InvalidRequestError) as caught:
        dropped(OPENAI, web_search_options={})
    assert caught.value.param == "web_search_options"
