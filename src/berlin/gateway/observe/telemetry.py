"""Reports finished requests to OpenTelemetry: metrics of generative AI, and spans."""

from __future__ import annotations

from typing import Any

from berlin.errors import ConfigurationError
from berlin.gateway.observe import genai
from berlin.gateway.observe.traces import Traces, operation_of
from berlin.gateway.observe.visit import Visit
from berlin.types import Usage

# Models that clients name are labels; further ones count as other.
MAX_MODELS = 256


class GenAiMetrics:
    """Records metrics with the OpenTelemetry provider set up by the process.

    Raises:
        ImportError: if opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter("berlin.gateway", schema_url=genai.CONVENTIONS)
        self._models: set[str] = set()

        def seconds(name: str, text: str) -> Any:
            return meter.create_histogram(
                name, "s", text, explicit_bucket_boundaries_advisory=genai.SECONDS
            )

        def each(name: str, text: str) -> Any:
            return meter.create_histogram(
                name, "{token}", text, explicit_bucket_boundaries_advisory=genai.TOKENS
            )

        self._duration = seconds(genai.DURATION, "From a request to the end of its answer.")
        self._first = seconds(genai.FIRST_CHUNK, "From a request to the first piece of its stream.")
        self._each_input = each(genai.EACH_INPUT, "Tokens of a request.")
        self._each_output = each(genai.EACH_OUTPUT, "Tokens of an answer.")
        self._used = {
            name: meter.create_counter(name, "{token}", text)
            for name, text in (
                (genai.USED_INPUT, "Tokens of requests."),
                (genai.USED_OUTPUT, "Tokens of answers."),
                (genai.USED_CACHE_READ, "Tokens of requests that were in the service's cache."),
                (genai.USED_CACHE_WRITE, "Tokens of requests written to the service's cache."),
                (genai.USED_REASONING, "Tokens of answers that were reasoning."),
            )
        }

    def ended(self, visit: Visit) -> None:
        """Record a visit, if it was for a provider; see `Observer`."""
        if not visit.provider:
            return
        labels = {
            genai.OPERATION: operation_of(visit),
            genai.PROVIDER: visit.provider,
            genai.REQUEST_MODEL: self._bounded(visit.model),
        }
        failure = {} if visit.outcome == "ok" else {genai.ERROR_TYPE: visit.outcome}
        self._duration.record(visit.seconds, {**labels, **failure})
        if visit.stream and visit.first_event_s is not None:
            self._first.record(visit.first_event_s, labels)
        # An estimate is not what a service has billed.
        if visit.usage is not None and not visit.usage.estimated:
            self._add(visit.usage, labels)

    def close(self) -> None:
        """Do nothing: the exporter owns the metrics."""

    def _add(self, usage: Usage, labels: dict[str, str]) -> None:
        self._each_input.record(usage.input_tokens, labels)
        self._each_output.record(usage.output_tokens, labels)
        counts = {
            genai.USED_INPUT: usage.input_tokens,
            genai.USED_OUTPUT: usage.output_tokens,
            genai.USED_CACHE_READ: usage.cached_tokens,
            genai.USED_CACHE_WRITE: usage.cache_write_tokens,
            genai.USED_REASONING: usage.reasoning_tokens,
        }
        labels = {**labels, genai.MODALITY: genai.UNKNOWN_MODALITY}
        for name, count in counts.items():
            if count:
                self._used[name].add(count, labels)

    def _bounded(self, model: str) -> str:
        if len(self._models) < MAX_MODELS:
            self._models.add(model[:200])
        return model[:200] if model[:200] in self._models else genai.OTHER


def open_telemetry() -> tuple[Traces, GenAiMetrics]:
    """Return the observers that make spans and record metrics.

    Raises:
        ConfigurationError: if opentelemetry-api is not installed.
    """
    try:
        return Traces(), GenAiMetrics()
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs opentelemetry-api: pip install 'berlin-llm[otel]'"
        ) from error
