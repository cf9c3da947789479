"""Facts about every format, whatever its dialect: both ends, every cut, any bytes."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError, InvalidRequestError
from berlin.types import (
    ChatResponse,
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallPart,
    UsageReport,
)
from support.bare import bare_request
from support.drawn import anthropic, ollama, openai
from support.drawn.dialect import (
    CUTS,
    NAMES,
    OBJECTS,
    REASONS,
    SAID,
    TEXTS,
    Dialect,
    cut,
    decode,
)
from support.formats import sent

BOUNDED = settings(max_examples=60)
GENERATE = ollama.DIALECT._replace(format=ollama.GENERATE)
DIALECTS = {one.__name__.rpartition(".")[2]: one.DIALECT for one in (anthropic, ollama, openai)}

each_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


@pytest.mark.parametrize("dialect", [*DIALECTS.values(), GENERATE], ids=[*DIALECTS, "generate"])
@settings(max_examples=150)
@given(st.data())
def test_what_is_encoded_is_decoded(dialect: Dialect, data: st.DataObject) -> None:
    """decode(encode(events)) are the events: every cut, either line end, keep-alives between."""
    calls, reason = data.draw(dialect.calls), data.draw(REASONS)
    reason = "tool_calls" if calls and reason == "stop" else reason
    usage = UsageReport(data.draw(dialect.usages))
    events = [*data.draw(SAID), *calls, usage, Finished(reason)]
    encoder = dialect.format.encoder(dialect.call)
    between = data.draw(st.sampled_from([b"", b"\n", encoder.keep_alive()]))
    body = b"".join(between + encoder.encode_event(event) for event in events)
    sizes = data.draw(CUTS)
    for reads in ([body], cut(body, sizes), cut(body.replace(b"\n", b"\r\n"), sizes)):
        assert decode(dialect.format, reads) == (events, None)


@each_dialect
@BOUNDED
@given(st.data())
def test_a_whole_answer_is_decoded_too(dialect: Dialect, data: st.DataObject) -> None:
    """An answer that did not stream gives the same events as one that did."""
    calls = data.draw(st.lists(st.tuples(NAMES, NAMES, OBJECTS), max_size=3))
    parts = tuple(ToolCallPart(f"{id}{n}", name, o) for n, (id, name, o) in enumerate(calls))
    reason: FinishReason = "tool_calls" if parts else "stop"
    text, reasoning, usage = data.draw(TEXTS), data.draw(TEXTS), data.draw(dialect.usages)
    response = ChatResponse.of(text, reason, usage, reasoning, parts)
    expected = [
        *(ReasoningDelta(reasoning), TextDelta(text)),
        *(ToolCallDelta(n, c.id, c.name, c.arguments) for n, c in enumerate(parts)),
        *(UsageReport(usage), Finished(reason)),
    ]
    body = dialect.format.encode_response(dialect.call, response)
    for reads in ([body], cut(body, data.draw(CUTS))):
        assert decode(dialect.format, reads) == (expected, None)


@each_dialect
@BOUNDED
@given(SAID, TEXTS, CUTS)
def test_an_encoded_error_ends_the_answer(
    dialect: Dialect, said: list[StreamEvent], message: str, sizes: list[int]
) -> None:
    """An error is reported after the events before it, and not as text."""
    encoder = dialect.format.encoder(dialect.call)
    data = b"".join(encoder.encode_event(event) for event in said)
    data += encoder.encode_error(BerlinError(message))
    events, failure = decode(dialect.format, cut(data, sizes))
    assert events == said
    assert failure is not None
    assert failure.message.startswith("the service reports an error: ")


@each_dialect
@BOUNDED
@given(st.data())
def test_an_odd_answer_does_not_depend_on_the_cuts(dialect: Dialect, data: st.DataObject) -> None:
    """The events and the failure of any answer are the same, however it is cut into reads."""
    body = b"".join(data.draw(st.lists(st.sampled_from(dialect.odd), max_size=8)))
    events, failure = decode(dialect.format, [body])
    cut_events, cut_failure = decode(dialect.format, cut(body, data.draw(CUTS)))
    assert cut_events == events
    assert type(cut_failure) is type(failure)
    assert str(cut_failure) == str(failure)


@each_dialect
@BOUNDED
@given(st.data())
def test_any_bytes_give_values_or_a_berlin_error(dialect: Dialect, data: st.DataObject) -> None:
    """No answer and no request makes the format raise anything but a BerlinError."""
    check_any_bytes(dialect, data.draw(dialect.bodies))


@each_dialect
def test_hard_bytes_give_values_or_a_berlin_error(dialect: Dialect) -> None:
    """So do deep nesting, huge numbers, lone surrogates and bytes that are not UTF-8."""
    for body in dialect.examples:
        check_any_bytes(dialect, body)


def check_any_bytes(dialect: Dialect, body: bytes) -> None:
    """Read bytes as an answer, as an error and as a request."""
    for reads in ([body], cut(body, [1] * 50)):
        events, failure = decode(dialect.format, reads)
        assert failure is None or isinstance(failure, BerlinError)
        repr(events).encode()
    assert len(dialect.format.describe_error(body)) <= 300
    with contextlib.suppress(InvalidRequestError):
        sent(dialect.format, dialect.format.decode_request(body).request)


@each_dialect
@BOUNDED
@given(st.data())
def test_a_request_survives_the_wire(dialect: Dialect, data: st.DataObject) -> None:
    """decode_request(encode_request(x)) is x, and encoding it again gives the same body."""
    request = data.draw(dialect.requests)
    body = sent(dialect.format, request).body
    call = dialect.format.decode_request(body)
    assert bare_request(call.request) == request
    assert (call.stream, call.include_usage) == (True, dialect.reports_usage)
    assert json.loads(sent(dialect.format, call.request).body) == json.loads(body)
