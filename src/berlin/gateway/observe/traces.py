"""OpenTelemetry spans: one for each request and each attempt, made when the request ends."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from berlin.errors import FailedAttempt
from berlin.gateway.observe import genai
from berlin.gateway.observe.visit import Visit
from berlin.types import Usage


class Traces:
    """Makes spans with the OpenTelemetry provider set up by the process.

    Raises:
        ImportError: if opentelemetry-api is not installed.
    """

    def __init__(self) -> None:
        from opentelemetry import propagate, trace

        self._extract = propagate.extract
        self._trace = trace
        self._tracer = trace.get_tracer("berlin.gateway", schema_url=genai.CONVENTIONS)

    def ended(self, visit: Visit) -> None:
        """Make the span of a visit, as part of the client's trace."""
        # Clocks are compared once: between two looks a busy machine may do something else.
        now, monotonic, counter = time.time_ns(), time.monotonic_ns(), time.perf_counter()
        began = now - int((counter - visit.began_at) * 1e9)
        attributes: dict[str, str | int | float] = {
            genai.OPERATION: operation_of(visit),
            "http.response.status_code": visit.status,
            "berlin.face": visit.face,
            "berlin.request_id": visit.id,
        }
        if visit.provider:
            attributes[genai.PROVIDER] = visit.provider
            attributes[genai.REQUEST_MODEL] = visit.model[:200]
            attributes[genai.STREAM] = visit.stream
        if visit.usage is not None:
            attributes |= tokens_of(visit.usage)
        if visit.first_event_s is not None and visit.stream:
            attributes[genai.TIME_TO_FIRST_CHUNK] = visit.first_event_s
        if visit.answered_by:
            attributes["berlin.answered_by"] = visit.answered_by
        if visit.attempts is not None:
            attributes["berlin.attempts"] = visit.attempts
        if visit.outcome != "ok":
            attributes[genai.ERROR_TYPE] = visit.outcome
        span = self._tracer.start_span(
            f"chat {visit.provider}" if visit.provider else f"{visit.method} {visit.face}",
            context=self._extract(visit.headers),
            kind=self._trace.SpanKind.SERVER,
            attributes=attributes,
            start_time=began,
        )
        if visit.status >= 500 or visit.outcome == "client_left":
            span.set_status(self._trace.StatusCode.ERROR)
        attempts = _attempts_of(visit)
        if attempts:
            self._add_attempts(attempts, operation_of(visit), span, now - monotonic)
        span.end(end_time=began + int(visit.seconds * 1e9))

    def _add_attempts(
        self, attempts: Iterable[FailedAttempt], operation: str, span: Any, ahead: int
    ) -> None:
        """Make a span of each attempt; that of the one that succeeded has no code.

        Args:
            attempts: the attempts.
            operation: what they are for.
            span: the request's span.
            ahead: how far the wall clock is ahead of the monotonic one, in nanoseconds.
        """
        context = self._trace.set_span_in_context(span)
        for attempt in attempts:
            began = int(attempt.began_at * 1e9) + ahead
            child = self._tracer.start_span(
                f"attempt {attempt.provider}".rstrip(),
                context=context,
                kind=self._trace.SpanKind.CLIENT,
                attributes={
                    genai.OPERATION: operation,
                    genai.PROVIDER: attempt.provider,
                    genai.REQUEST_MODEL: attempt.model[:200],
                    "berlin.sent": attempt.sent,
                    **({genai.ERROR_TYPE: attempt.code} if attempt.code else {}),
                },
                start_time=began,
            )
            if attempt.code:
                child.set_status(self._trace.StatusCode.ERROR)
            child.end(end_time=began + int(attempt.seconds * 1e9))

    def close(self) -> None:
        """Do nothing: the exporter owns the spans."""


def _attempts_of(visit: Visit) -> tuple[FailedAttempt, ...]:
    """Return all attempts at an answer, the one that succeeded last."""
    started = visit.started
    if started is None or not started.began_at:
        return visit.failed
    code = "" if visit.outcome == "ok" else visit.outcome
    seconds = time.monotonic() - started.began_at
    last = FailedAttempt(started.provider, started.model, code, started.began_at, seconds)
    return (*started.failed, last)


def operation_of(visit: Visit) -> str:
    """Return the name of what a request does."""
    return genai.EMBEDDINGS if visit.path.endswith(("/embeddings", "/embed")) else genai.CHAT


def tokens_of(usage: Usage) -> dict[str, str | int | float]:
    """Return the attributes of a span for what was used; subsets only where there are any."""
    subsets = {
        genai.CACHE_READ_TOKENS: usage.cached_tokens,
        genai.CACHE_WRITE_TOKENS: usage.cache_write_tokens,
        genai.REASONING_TOKENS: usage.reasoning_tokens,
    }
    return {
        genai.INPUT_TOKENS: usage.input_tokens,
        genai.OUTPUT_TOKENS: usage.output_tokens,
        **{name: count for name, count in subsets.items() if count},
    }
