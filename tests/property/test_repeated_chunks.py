"""Streams whose chunks repeat the same bytes mean the same, whether or not that is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.formats.anthropic.decoder import AnthropicDecoder
from berlin.formats.decoding import EventDecoder
from berlin.formats.described.decoder import MappedDecoder
from berlin.formats.openai.decoder import OpenAIDecoder
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.types import StreamEvent
from berlin.wire.around import AroundText

TEXTS = st.sampled_from(["a", "b ", "é", "content", "x\ny", '"', "{}", "", "\\", " ", "YQ=="])
CHUNK = '{"id":"1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":null}]}'
OPENAI = [
    *[CHUNK] * 3,
    '{"id":"1","choices":[{"index":0,"delta":{"content":%s}}],"usage":{"prompt_tokens":1}}',
    '{"id":"1","choices":[{"index":0,"delta":{"content":%s}}],"mine":"a"}',
    '{"id":"1","choices":[{"index":0,"delta":{"reasoning_content":%s}}]}',
    '{"id":"1","choices":[{"index":0,"delta":{"refusal":%s}}]}',
    '{"id":"1","choices":[{"index":0,"message":{"content":%s}}]}',
    '{"id":"1","choices":[{"index":1,"delta":{"content":%s}}]}',
    '{"id":"1","choices":[{"index":0,"delta":{"content":%s}',
]
DELTA = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}'
ANTHROPIC = [
    *[DELTA] * 3,
    DELTA.replace("text", "thinking"),
    '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":%s}}',
    '{"type":"ping","text":%s}',
]
OURS = [
    *['{"content":%s}'] * 2,
    '{"content":%s,"id":7}',
    '{"content":%s,"kind":"part"}',
    '{"content":%s,"kind":"whole"}',
    '{"other":%s}',
    '{"content":%s',
]


class Stream(NamedTuple):
    """A kind of stream: its decoder, its chunks, and the bytes around each."""

    decoder: Callable[[], EventDecoder]
    chunks: list[str]
    before: str = "data: "
    ends: tuple[str, ...] = ("\n\n", "\n\n", "\n\n", "\n\n: ping\n\n", "\r\n\r\n", "\n")


def described(framing: str, **more: object) -> Stream:
    stream = CompiledStream(StreamMap(framing, ["/content"], message_id=["/id"], **more))  # type: ignore[arg-type]
    lines = ("", ("\n", "\n", "\r\n", "")) if framing == "ndjson" else ()
    return Stream(lambda: MappedDecoder(stream), OURS, *lines)


STREAMS = {
    "openai": Stream(OpenAIDecoder, OPENAI),
    "anthropic": Stream(AnthropicDecoder, ANTHROPIC),
    "sse": described("sse"),
    "named": described("sse-events", text_is="cumulative"),
    "lines": described("ndjson"),
    "encoded": described("ndjson", decode={"/content": "base64"}),
    "padded": described("ndjson", padding="a"),
    "rewritten": described(
        "ndjson", kind="/kind", kinds={"part": "text", "whole": "replace"}, others="skip"
    ),
}


def meaning(decoder: EventDecoder, reads: list[bytes]) -> tuple[list[list[StreamEvent]], str]:
    """Return the events of each read and of the end, and how the stream failed."""
    events = [decoder.feed(read) for read in reads]
    events.append(decoder.finish())
    return events, str(decoder.failure)


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
@settings(max_examples=50)
@given(st.data())
def test_repeated_bytes_mean_the_same(stream: Stream, data: st.DataObject) -> None:
    """Each read of a stream means what it means to a decoder that remembers no read."""
    runs = st.tuples(st.sampled_from(stream.chunks), st.lists(TEXTS, min_size=1, max_size=4))
    end = data.draw(st.sampled_from(stream.ends))
    documents = [
        chunk.replace("%s", json.dumps(text))
        for chunk, texts in data.draw(st.lists(runs, max_size=6))
        for text in texts
    ]
    reads = [f"{stream.before}{document}{end}".encode() for document in documents]
    forgetful = stream.decoder()
    forgetful._around = AroundText(b"")
    assert meaning(stream.decoder(), reads) == meaning(forgetful, reads)
