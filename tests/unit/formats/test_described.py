"""What a client's dialect has and a described service has not is named, or refused by its table."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from berlin.errors import InvalidRequestError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.contract import Format
from berlin.formats.described.decoder import MappedDecoder
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.types import TextDelta
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


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_a_document_that_ends_an_answer(size: int) -> None:
    """The marker may be a document like others, which only its text makes the end."""
    stream = {"framing": "sse", "text": "/t", "done": '{"t":"END"}', "ends": "finish_reason"}
    compiled = CompiledStream(msgspec.convert(stream, StreamMap))
    texts = ["a", "b", "c", "d", "END", "e"]
    events = [b'data: {"t":"%b"}\n\n' % text.encode() for text in texts]
    body = b"".join(events)
    reads = events if not size else [body[n : n + size] for n in range(0, len(body), size)]
    decoder = MappedDecoder(compiled)
    found = [event for read in reads for event in decoder.feed(read)]
    found += decoder.finish()
    assert decoder.failure is None
    assert "".join(e.text for e in found if isinstance(e, TextDelta)) == "abcd"
