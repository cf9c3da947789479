"""One request of a client, from its head to the end of its answer."""

from __future__ import annotations

import time
import uuid

from aiohttp import web

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    PermissionDeniedError,
    ServiceError,
    TransportError,
)
from berlin.gateway.observe.log import Access, AccessLog
from berlin.gateway.observe.metrics import Metrics
from berlin.gateway.observe.traces import Tracing
from berlin.providers.contract import Burst
from berlin.types import Finished, Usage, UsageReport

_OF_SERVICES = (TransportError, ServiceError, AuthenticationError, PermissionDeniedError)

VISIT: web.RequestKey[Visit]


class Visit:
    """What is known of a request; the log line and the metrics are made of it.

    Attributes:
        id: told to the client, to the service, and in every log line.
        face: name of the face, `""` where no route fits.
        provider: name of the provider that was asked.
        model: what the client asked for.
        key: id of the client's key.
        stream: whether the answer is streamed.
        first_event_at: when the first event came, on the clock of `time.perf_counter`.
        events: how many events came.
        usage: what the answer has cost, as the service says.
        bytes_out: of the answer's body.
        error: what the answer ended with.
        left: whether the client went before its end.
        status: HTTP status of the answer.
        remote: the client's address.
    """

    def __init__(self) -> None:
        self.id = f"req_{uuid.uuid4().hex}"
        self.face = ""
        self.provider = ""
        self.model = ""
        self.key = ""
        self.stream = False
        self.began_at = time.perf_counter()
        self.first_event_at: float | None = None
        self.events = 0
        self.usage: Usage | None = None
        self.bytes_out = 0
        self.error: BerlinError | None = None
        self.left = False
        self.status = 0
        self.remote = ""

    @property
    def outcome(self) -> str:
        """`ok`, `client_left`, or the code of the error."""
        if self.left:
            return "client_left"
        if self.error is not None:
            return self.error.code
        return "ok" if self.status < 400 else "refused"

    def note(self, burst: Burst) -> None:
        """Take note of what came."""
        if self.first_event_at is None:
            self.first_event_at = time.perf_counter()
        self.events += len(burst)
        if type(burst[-1]) is Finished or type(burst[-1]) is UsageReport:
            for event in burst[-2:]:
                if isinstance(event, UsageReport):
                    self.usage = event.usage

    def end(self, request: web.Request, log: AccessLog, metrics: Metrics, tracing: Tracing) -> None:
        """Take note of the end. It waits for nothing, so a client that left does not stop it."""
        seconds = time.perf_counter() - self.began_at
        first = None if self.first_event_at is None else self.first_event_at - self.began_at
        log.write(
            Access(
                request_id=self.id,
                method=request.method,
                path=_path(request),
                face=self.face or None,
                provider=self.provider or None,
                model=self.model or None,
                key=self.key or None,
                status=self.status,
                outcome=self.outcome,
                stream=self.stream,
                duration_ms=seconds * 1000,
                first_event_ms=None if first is None else first * 1000,
                input_tokens=self.usage.input_tokens if self.usage else None,
                output_tokens=self.usage.output_tokens if self.usage else None,
                bytes_out=self.bytes_out,
                remote=self.remote or None,
            )
        )
        if self.provider and isinstance(self.error, _OF_SERVICES):
            metrics.fail_upstream(self.provider, self.error.code)
        metrics.end_request(
            face=self.face or None,
            provider=self.provider or None,
            outcome=self.outcome,
            status=self.status,
            seconds=seconds,
            first_event_s=first,
            events=self.events,
        )
        tracing.end_request(self, request)


VISIT = web.RequestKey("visit", Visit)


def _path(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path
