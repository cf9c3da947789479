"""Spans of OpenTelemetry, as the SDK hands them out."""

from __future__ import annotations

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from berlin.errors import CircuitOpenError, ConnectionLostError, ServiceUnavailableError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.observe.traces import Traces
from berlin.gateway.serving.server import open_server
from berlin.providers.contract import Provider
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.fallback import Fallback
from berlin.routing.model import Model
from berlin.routing.retry import Retry
from berlin.types import Finished, Usage, UsageReport

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What is exported by the tracers of this test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("opentelemetry.trace.get_tracer", provider.get_tracer)
    return exporter


async def ask(script: list[object], model: str = "s") -> int:
    """Ask a gateway whose provider plays a script; return the status."""
    return await ask_provider(ScriptedProvider(script), model)


async def ask_provider(provider: Provider, model: str = "s") -> int:
    """Ask a gateway that makes spans; return the status."""
    gateway = Gateway(Catalog([Service("s", provider)]), observers=[Traces()])
    body = {"model": model, "messages": [{"role": "user", "content": "a secret prompt"}]}
    async with (
        open_server(gateway, Accounts(), grace_s=0) as url,
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/v1/chat/completions", json=body, headers={"traceparent": PARENT}
        ) as answer,
    ):
        return answer.status


async def test_a_request_is_a_span_of_the_clients_trace(spans: InMemorySpanExporter) -> None:
    """It carries provider, model and tokens, and neither prompt nor answer."""
    assert await ask(["a secret answer", UsageReport(Usage(3, 5)), Finished()]) == 200
    (span,) = spans.get_finished_spans()
    assert span.name == "chat s"
    assert span.attributes is not None
    assert span.attributes["gen_ai.provider.name"] == "s"
    assert span.attributes["gen_ai.usage.output_tokens"] == 5
    assert span.attributes["http.response.status_code"] == 200
    assert span.parent is not None
    assert format(span.parent.trace_id, "032x") == PARENT.split("-")[1]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time < span.end_time
    assert "secret" not in span.to_json()


async def test_each_attempt_has_a_span(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the request: who was asked, in which order, for how long, and what came of it."""
    monkeypatch.setattr("berlin.routing.retry.FIRST_BACKOFF_S", 0.0)
    down = ScriptedProvider([ServiceUnavailableError("down")])
    skipped = ScriptedProvider([CircuitOpenError("open")])
    good = ScriptedProvider(["a secret answer", Finished()])
    first, second, third = (
        Model(provider, name, "m1")
        for name, provider in (("down", down), ("skipped", skipped), ("good", good))
    )
    assert await ask_provider(Fallback(Retry(first, attempts=2), second, third)) == 200
    *attempts, request = spans.get_finished_spans()
    assert [span.name for span in attempts] == ["attempt down"] * 2 + [
        "attempt skipped",
        "attempt good",
    ]
    assert request.attributes is not None
    assert request.attributes["berlin.attempts"] == 3
    assert request.attributes["berlin.answered_by"] == "good"
    codes, sent = [], []
    ends_at = request.start_time
    for span in attempts:
        assert span.parent == request.get_span_context()
        assert span.kind is SpanKind.CLIENT
        assert span.attributes is not None
        assert span.attributes["gen_ai.provider.name"] == span.name.removeprefix("attempt ")
        assert span.attributes["gen_ai.request.model"] == "m1"
        codes.append(span.attributes.get("error.type"))
        sent.append(span.attributes["berlin.sent"])
        assert span.status.is_ok == (codes[-1] is None)
        assert ends_at is not None
        assert span.start_time is not None
        assert ends_at <= span.start_time + 1_000_000  # two clocks
        ends_at = span.end_time
    assert codes == ["upstream_unavailable"] * 2 + ["circuit_open", None]
    assert sent == [True, True, False, True]
    assert "secret" not in "".join(span.to_json() for span in attempts)


async def test_the_attempt_that_breaks_off_has_its_code(spans: InMemorySpanExporter) -> None:
    """An answer that breaks after its text is an attempt that failed, too."""
    broken = Model(ScriptedProvider(["Hello", ConnectionLostError("lost")]), "one", "m1")
    await ask_provider(Fallback(broken))
    attempt, request = spans.get_finished_spans()
    assert attempt.attributes is not None
    assert request.attributes is not None
    assert attempt.name == "attempt one"
    assert attempt.attributes["error.type"] == request.attributes["error.type"]
    assert not attempt.status.is_ok


async def test_an_error_is_told_by_its_code(spans: InMemorySpanExporter) -> None:
    """What went wrong stands in the span."""
    assert await ask([ServiceUnavailableError("down")]) == 502
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "upstream_unavailable"
    assert not span.status.is_ok
