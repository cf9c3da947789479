"""One request of a client, from its headers to the end of its answer, and its observers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import getrandbits
from typing import Protocol

import msgspec

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    FailedAttempt,
    PermissionDeniedError,
    ServiceError,
    TransportError,
)
from berlin.ledger.entry import Entry
from berlin.providers.contract import Burst
from berlin.routing.base.meter import Meter
from berlin.types import (
    ChatRequest,
    Finished,
    Started,
    Usage,
    UsageReport,
)
from berlin.types.embeddings import EmbeddingRequest

_OF_SERVICES = (TransportError, ServiceError, AuthenticationError, PermissionDeniedError)


def new_id() -> str:
    """Return an id for a request, not secret. Later ones sort last: the rows of the ledger are then
    added at the end of its index, and not on a page each.
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{getrandbits(80):020x}"


def milliseconds(seconds: float) -> float:
    """Return milliseconds, to the microsecond; `round` takes several times as long."""
    return int(seconds * 1_000_000 + 0.5) / 1000


class Visit(msgspec.Struct, eq=False):
    """The record of a request, from which log, metrics, traces and ledger are made.

    It never contains a prompt, an answer or a secret.

    Attributes:
        id: sent to the client and to the service, and part of every log line.
        method: HTTP method.
        path: template of the route, or the path; never the query.
        remote: the client's address, as reported by trusted proxies.
        headers: the request's headers.
        face: name of the face, `""` if no route matches.
        provider: name of the requested provider.
        model: the requested model.
        key: id of the client's key.
        user: the person that the key belongs to.
        stream: whether the answer is streamed.
        began_at: when it started, on the clock of `time.perf_counter`.
        first_event_at: when the first event arrived, on the same clock.
        seconds: from the request's headers to the end of its answer; 0 before the end.
        events: the number of events.
        started: who answered, if the provider says so.
        usage: the usage reported by the service.
        bytes_out: size of the answer's body.
        error: the error that ended the answer.
        left: whether the client disconnected before the end.
        status: HTTP status of the answer; 0 if none was sent.
        more_headers: headers of the response that say how much of its limits is left.
        asked: what was sent to a provider, where the ledger records it.
        meter: measures the answer, if a limit or the ledger needs its length.
    """

    method: str
    path: str
    remote: str
    headers: Mapping[str, str]
    id: str = msgspec.field(default_factory=new_id)
    face: str = ""
    provider: str = ""
    model: str = ""
    key: str = ""
    user: str = ""
    stream: bool = False
    began_at: float = msgspec.field(default_factory=time.perf_counter)
    first_event_at: float | None = None
    seconds: float = 0.0
    events: int = 0
    started: Started | None = None
    usage: Usage | None = None
    bytes_out: int = 0
    error: BerlinError | None = None
    left: bool = False
    status: int = 0
    more_headers: Mapping[str, str] | None = None
    asked: Asked | None = None
    meter: Meter | None = None

    @property
    def outcome(self) -> str:
        """`ok`, `client_left`, or the code of the error."""
        if self.left:
            return "client_left"
        if self.error is not None:
            return self.error.code
        return "ok" if self.status < 400 else "refused"

    @property
    def text_chars(self) -> int:
        """The length of the answer so far, if it is measured."""
        return 0 if self.meter is None else self.meter.chars

    @property
    def first_event_s(self) -> float | None:
        """Seconds from the request's headers to the first event."""
        return None if self.first_event_at is None else self.first_event_at - self.began_at

    @property
    def failed(self) -> tuple[FailedAttempt, ...]:
        """The failed attempts at an answer, if there was more than one."""
        if self.error is not None and self.error.failed:
            return self.error.failed
        return self.started.failed if self.started is not None else ()

    @property
    def attempts(self) -> int | None:
        """The number of requests sent to services; `None` if unknown."""
        if self.started is not None:
            return self.started.attempts
        if self.error is not None and self.error.failed:
            return sum(attempt.sent for attempt in self.error.failed)
        return None

    @property
    def answered_by(self) -> str:
        """The provider that answered, if it is one of several; `""` if it is the requested one."""
        return self.started.provider if self.started is not None else ""

    @property
    def upstream_failure(self) -> str | None:
        """The code of the error, if it came from the service."""
        is_theirs = self.provider and isinstance(self.error, _OF_SERVICES)
        return self.error.code if is_theirs and self.error is not None else None

    def note(self, burst: Burst) -> None:
        """Record a burst."""
        if self.first_event_at is None:
            self.first_event_at = time.perf_counter()
        if type(burst[0]) is Started:  # the first, or that of a continuing provider
            self.started = burst[0]
        self.events += len(burst)
        if self.meter is not None:
            self.meter.note(burst)
            self.usage = self.meter.reported
        elif type(burst[-1]) is Finished or type(burst[-1]) is UsageReport:
            for event in burst[-2:]:
                if isinstance(event, UsageReport):
                    self.usage = event.usage

    def measure(self) -> None:
        """Measure the answer from now on."""
        self.meter = self.meter or Meter()

    def end(self) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.began_at


class Asked(msgspec.Struct, frozen=True):
    """A request as it was sent to a provider.

    Attributes:
        at: when, in seconds since the epoch.
        model: the provider's own name of the requested model.
        request: the request, for an estimate of its tokens.
        entry: its row so far.
    """

    at: float
    model: str
    request: ChatRequest | EmbeddingRequest
    entry: Entry


class Observer(Protocol):
    """Called once with every finished visit."""

    def ended(self, visit: Visit) -> None:
        """Record a visit. It never raises or waits: the client may be gone."""
        ...

    def close(self) -> None:
        """Write the rest, in bounded time."""
        ...
