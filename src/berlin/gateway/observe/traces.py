"""OpenTelemetry spans: one for each request, made when it ends.

None of the `gen_ai` names is stable yet; all those used by Berlin are in this module.
"""

from __future__ import annotations

import time
from typing import Any

from berlin.errors import ConfigurationError
from berlin.gateway.observe.visit import Visit


class Traces:
    """Makes spans with the OpenTelemetry provider set up by the process.

    Raises:
        ImportError: if opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import propagate, trace

        self._extract = propagate.extract
        self._trace = trace
        self._tracer = trace.get_tracer("berlin.gateway")

    def ended(self, visit: Visit) -> None:
        """Make the span of a visit, as part of the client's trace."""
        now = time.time_ns()
        began = now - int(visit.seconds * 1e9)
        attributes: dict[str, str | int | float] = {
            "gen_ai.operation.name": "chat",
            "http.response.status_code": visit.status,
            "berlin.face": visit.face,
            "berlin.request_id": visit.id,
        }
        if visit.provider:
            attributes["gen_ai.provider.name"] = visit.provider
            attributes["gen_ai.request.model"] = visit.model[:200]
        if visit.usage is not None:
            attributes["gen_ai.usage.input_tokens"] = visit.usage.input_tokens
            attributes["gen_ai.usage.output_tokens"] = visit.usage.output_tokens
        if visit.first_event_s is not None:
            attributes["berlin.first_event_seconds"] = visit.first_event_s
        if visit.answered_by:
            attributes["berlin.answered_by"] = visit.answered_by
        if visit.attempts is not None:
            attributes["berlin.attempts"] = visit.attempts
        if visit.outcome != "ok":
            attributes["error.type"] = visit.outcome
        span = self._tracer.start_span(
            f"chat {visit.provider}" if visit.provider else f"{visit.method} {visit.face}",
            context=self._extract(visit.headers),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=began,
        )
        if visit.status >= 500 or visit.outcome == "client_left":
            span.set_status(self._trace.StatusCode.ERROR)
        if visit.failed:
            self._add_attempts(visit, span, now)
        span.end(end_time=now)

    def _add_attempts(self, visit: Visit, span: Any, now: int) -> None:
        """Make a span of each attempt that failed."""
        context = self._trace.set_span_in_context(span)
        monotonic = time.monotonic()
        for attempt in visit.failed:
            began = now - int((monotonic - attempt.began_at) * 1e9)
            child = self._tracer.start_span(
                f"attempt {attempt.provider}".rstrip(),
                context=context,
                kind=self._trace.SpanKind.CLIENT,
                attributes={
                    "gen_ai.provider.name": attempt.provider,
                    "gen_ai.request.model": attempt.model[:200],
                    "error.type": attempt.code,
                    "berlin.sent": attempt.sent,
                },
                start_time=began,
            )
            child.set_status(self._trace.StatusCode.ERROR)
            child.end(end_time=began + int(attempt.seconds * 1e9))

    def close(self) -> None:
        """Do nothing: the exporter owns the spans."""


def open_traces() -> Traces:
    """Return the tracer.

    Raises:
        ConfigurationError: if opentelemetry-api is not installed.
    """
    try:
        return Traces()
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs opentelemetry-api: pip install 'berlin-llm[otel]'"
        ) from error
