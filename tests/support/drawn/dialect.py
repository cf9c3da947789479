"""Dialects as the property tests draw them: values, reads, and what one dialect can say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from berlin.errors import BerlinError
from berlin.formats.contract import ClientCall, Format
from berlin.types import ChatRequest, ReasoningDelta, StreamEvent, TextDelta
from support.bare import bare

CUTS = st.lists(st.integers(1, 60), max_size=40)
COUNTS = st.integers(0, 2**53)
NAMES = st.text("abcdefg_", min_size=1, max_size=8)
TEXTS = st.text(min_size=1)
SAID = st.lists(TEXTS.map(TextDelta) | TEXTS.map(ReasoningDelta), max_size=12)
REASONS = st.sampled_from(["stop", "length", "content_filter"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def dump(value: Any) -> str:
    """Return JSON text as the formats write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=3).map(dump)


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Give the data in reads of these sizes, and the rest in one."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def decode(format_: Format, reads: Iterable[bytes]) -> tuple[list[StreamEvent], BerlinError | None]:
    """Return the events of an answer, and why it is bad."""
    decoder = format_.decoder()
    events = [event for read in reads for event in decoder.feed(read)]
    return bare(events + decoder.finish()), decoder.failure


def members(names: Iterable[str], *values: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw objects of a dialect's member names, with any values and with these."""
    drawn: st.SearchStrategy[dict[str, Any]] = st.deferred(
        lambda: st.dictionaries(st.sampled_from([*names]), inner, max_size=5)
    )
    inner = JSON | drawn | st.lists(drawn, max_size=2)
    if values:
        inner |= st.sampled_from([*values])
    return drawn


class Dialect(NamedTuple):
    """A format, and what may be drawn for it.

    Attributes:
        format: the format.
        call: a client's call, for its encoder.
        odd: pieces of an answer that no service should send.
        bodies: bytes that look like answers or requests.
        examples: bytes that once broke a decoder.
        requests: requests of which every member has its place in the dialect.
        reports_usage: whether its clients always get the usage.
    """

    format: Format
    call: ClientCall
    odd: tuple[bytes, ...]
    bodies: st.SearchStrategy[bytes]
    examples: tuple[bytes, ...]
    requests: st.SearchStrategy[ChatRequest]
    reports_usage: bool
