"""Spans of OpenTelemetry, as the SDK hands them out."""

from __future__ import annotations

import aiohttp
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from berlin.errors import ServiceUnavailableError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.observe.traces import Traces
from berlin.gateway.serving.server import open_server
from berlin.providers.scripted import ScriptedProvider
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
    """Ask a gateway that makes spans; return the status."""
    provider = ScriptedProvider(script)  # type: ignore[arg-type]
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


async def test_an_error_is_told_by_its_code(spans: InMemorySpanExporter) -> None:
    """What went wrong stands in the span."""
    assert await ask([ServiceUnavailableError("down")]) == 502
    (span,) = spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "upstream_unavailable"
    assert not span.status.is_ok
