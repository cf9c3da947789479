"""Spans of OpenTelemetry: one for each request, made at its end.

None of the names below `gen_ai` is stable yet; all of them stand here.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from berlin.errors import ConfigurationError

if TYPE_CHECKING:
    from berlin.gateway.observe.visit import Visit


class Tracing(Protocol):
    """Takes note of requests as spans."""

    def end_request(self, visit: Visit, request: web.Request) -> None:
        """Make the span of a request that has ended."""
        ...


class NoTracing:
    """Makes no spans."""

    def end_request(self, visit: Visit, request: web.Request) -> None:
        """Do nothing."""


class OpenTelemetryTracing:
    """Makes spans with whatever provider the process has set up for OpenTelemetry.

    Raises:
        ImportError: if opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import propagate, trace

        self._extract = propagate.extract
        self._trace = trace
        self._tracer = trace.get_tracer("berlin.gateway")

    def end_request(self, visit: Visit, request: web.Request) -> None:
        """Make the span of a request that has ended; it belongs to the client's trace."""
        now = time.time_ns()
        began = now - int((time.perf_counter() - visit.began_at) * 1e9)
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
        if visit.first_event_at is not None:
            seconds = visit.first_event_at - visit.began_at
            attributes["gen_ai.server.time_to_first_token"] = seconds
        if visit.outcome != "ok":
            attributes["error.type"] = visit.outcome
        span = self._tracer.start_span(
            f"chat {visit.provider}" if visit.provider else f"{request.method} {visit.face}",
            context=self._extract(request.headers),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=began,
        )
        if visit.status >= 500 or visit.outcome == "client_left":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_time=now)


def open_tracing(wanted: bool) -> Tracing:
    """Return what makes spans, or what makes none.

    Raises:
        ConfigurationError: if spans are wanted and opentelemetry-api is not installed.
    """
    if not wanted:
        return NoTracing()
    try:
        return OpenTelemetryTracing()
    except ImportError as error:
        raise ConfigurationError(
            "tracing needs opentelemetry-api: pip install 'berlin-llm[otel]'"
        ) from error
