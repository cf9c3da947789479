"""Metrics of generative AI, as OpenTelemetry's SDK reads them."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from berlin.errors import ServiceUnavailableError
from berlin.gateway.observe import genai
from berlin.gateway.observe.telemetry import MAX_MODELS, GenAiMetrics
from berlin.gateway.observe.visit import Visit
from berlin.types import Usage

LABELS = {genai.OPERATION: "chat", genai.PROVIDER: "s", genai.REQUEST_MODEL: "m1"}


class _Sdk:
    """Records visits, and reads what the SDK has made of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader])
        monkeypatch.setattr("opentelemetry.metrics.get_meter", self._provider.get_meter)
        self.metrics = GenAiMetrics()

    def read(self) -> dict[str, list[Any]]:
        """Return the points of each metric."""
        data = self._reader.get_metrics_data()
        scopes = [] if data is None else data.resource_metrics[0].scope_metrics
        assert {scope.scope.schema_url for scope in scopes} <= {genai.CONVENTIONS}
        found = {
            metric.name: list(metric.data.data_points)
            for scope in scopes
            for metric in scope.metrics
        }
        self._provider.shutdown()
        return found


def visit(**values: Any) -> Visit:
    """Return a finished visit."""
    made = Visit("POST", "/v1/chat/completions", "127.0.0.1", {})
    for name, value in {"provider": "s", "model": "m1", "status": 200, **values}.items():
        setattr(made, name, value)
    made.seconds = 2.5
    return made


def test_tokens_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters add up over requests, and subsets have counters of their own."""
    sdk = _Sdk(monkeypatch)
    for _ in range(2):
        asked = visit(stream=True, usage=Usage(30, 7, cached_tokens=20, reasoning_tokens=5))
        asked.first_event_at = asked.began_at + 0.25
        sdk.metrics.ended(asked)
    got = sdk.read()
    counters = {name: points[0] for name, points in got.items() if ".usage." in name}
    assert {name: point.value for name, point in counters.items()} == {
        "gen_ai.client.inference.usage.input_tokens": 60,
        "gen_ai.client.inference.usage.output_tokens": 14,
        "gen_ai.client.inference.usage.cache_read.input_tokens": 40,
        "gen_ai.client.inference.usage.reasoning.output_tokens": 10,
    }
    assert counters[genai.USED_INPUT].attributes == {**LABELS, genai.MODALITY: "unknown"}
    [duration], [first] = got[genai.DURATION], got[genai.FIRST_CHUNK]
    assert (duration.count, duration.sum, duration.attributes) == (2, 5.0, LABELS)
    assert (first.count, first.sum) == (2, 0.5)
    assert got[genai.EACH_OUTPUT][0].explicit_bounds == genai.TOKENS


def test_a_failure_has_its_code_and_estimates_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failed request has a duration with the code of the error; an estimate is no usage."""
    sdk = _Sdk(monkeypatch)
    sdk.metrics.ended(visit(error=ServiceUnavailableError("down"), status=502))
    sdk.metrics.ended(visit(usage=Usage(3, 4, estimated=True)))
    sdk.metrics.ended(visit(provider=""))
    got = sdk.read()
    assert set(got) == {genai.DURATION}
    assert {point.attributes.get(genai.ERROR_TYPE) for point in got[genai.DURATION]} == {
        None,
        "upstream_unavailable",
    }


def test_models_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many models clients name, there are a bounded number of series."""
    sdk = _Sdk(monkeypatch)
    for number in range(MAX_MODELS + 50):
        sdk.metrics.ended(visit(model=f"m{number}"))
    points = sdk.read()[genai.DURATION]
    assert len(points) == MAX_MODELS + 1
    [other] = [p for p in points if p.attributes[genai.REQUEST_MODEL] == genai.OTHER]
    assert other.count == 50
