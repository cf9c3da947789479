"""The access log: one JSON line for each request, without prompt or answer."""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from berlin.errors import ConfigurationError
from berlin.gateway.observe.visit import Visit

MAX_VALUE_CHARS = 200
# The most unwritten lines; further ones are dropped and counted.
MAX_PENDING = 10_000
BATCH_S = 0.05
LAST_LINES_S = 2.0

_log = logging.getLogger("berlin.gateway")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The line of one request. The attributes are those of `Visit`; `None` if missing."""

    request_id: str
    method: str
    path: str
    face: str | None = None
    provider: str | None = None
    model: str | None = None
    key: str | None = None
    status: int
    outcome: str
    answered_by: str | None = None
    attempts: int | None = None
    stream: bool = False
    duration_ms: float
    first_event_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    bytes_out: int = 0
    remote: str | None = None

    @classmethod
    def of(cls, visit: Visit) -> Access:
        """Return the line of a visit."""
        first, usage = visit.first_event_s, visit.usage
        return cls(
            request_id=visit.id,
            method=visit.method,
            path=visit.path,
            face=visit.face or None,
            provider=visit.provider or None,
            model=visit.model or None,
            key=visit.key or None,
            status=visit.status,
            outcome=visit.outcome,
            answered_by=visit.answered_by or None,
            attempts=visit.attempts,
            stream=visit.stream,
            duration_ms=visit.seconds * 1000,
            first_event_ms=None if first is None else first * 1000,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            bytes_out=visit.bytes_out,
            remote=visit.remote or None,
        )


class JsonAccessLog:
    """Writes lines in its own thread, in batches every `BATCH_S`.

    Neither a slow disk nor a pipe without a reader delays a request, and no failure here reaches
    one: lines that cannot be written are counted, with one warning.

    Args:
        descriptor: the file to write to; it is closed at the end.
        clock: seconds since the epoch.

    Attributes:
        lost: how many lines could not be written.
    """

    def __init__(self, descriptor: int, clock: Callable[[], float] = time.time) -> None:
        self.lost = 0
        self._descriptor = descriptor
        self._clock = clock
        self._lines: deque[bytes] = deque()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._losing = threading.Lock()
        self._told = False
        self._torn = False
        # Several workers write to one pipe: more than this may be mixed with lines of others.
        pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._most = getattr(select, "PIPE_BUF", 512) if pipe else None
        # A daemon thread: one that hangs in a write does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def ended(self, visit: Visit) -> None:
        """Log a visit; see `Observer`."""
        self.write(Access.of(visit))

    def write(self, access: Access) -> None:
        """Log a request; the line is written within `BATCH_S`."""
        if len(self._lines) >= MAX_PENDING:
            self._lose(1, "lines come faster than they can be written")
            return
        self._lines.append(encode_access(access, self._clock()))
        self._changed.set()

    def close(self) -> None:
        """Write the rest, for at most `LAST_LINES_S`, and close the file."""
        self._closing.set()
        self._changed.set()
        self._thread.join(LAST_LINES_S)

    def _run(self) -> None:
        closing = False
        while not closing:
            self._changed.wait()
            closing = self._closing.wait(BATCH_S)
            self._changed.clear()
            batch = [self._lines.popleft() for _ in range(len(self._lines))]
            for lines in _pieces(batch, self._most):
                self._write_all(lines)
        os.close(self._descriptor)

    def _write_all(self, batch: list[bytes]) -> None:
        # After a line cut by a full disk, the next one starts on a new line.
        data = b"\n" * self._torn + b"".join(batch)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            whole = data.count(b"\n", 0, written) - (self._torn and written > 0)
            self._lose(len(batch) - whole, error.strerror or str(error))
        if written:
            self._torn = data[written - 1 : written] != b"\n"

    def _lose(self, count: int, why: str) -> None:
        with self._losing:
            self.lost += count
            first, self._told = not self._told, True
        if first:
            _log.error("access_log.lost error=%r", why)


def _pieces(batch: list[bytes], most: int | None) -> Iterator[list[bytes]]:
    """Yield the lines in lists of a bounded size, or of one line."""
    piece: list[bytes] = []
    size = 0
    for line in batch:
        if piece and most is not None and size + len(line) > most:
            yield piece
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield piece


def encode_access(access: Access, at: float) -> bytes:
    """Return the line of a request.

    It is ASCII: control characters, line ends of every kind and direction marks are escaped, so
    that no value can end the line or control a terminal.

    Args:
        access: the request.
        at: seconds since the epoch.
    """
    time_utc = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    fields: dict[str, Any] = {"time": time_utc.replace("+00:00", "Z"), **asdict(access)}
    fields["path"] = access.path.partition("?")[0]
    for name in _TEXTS:
        if (text := fields[name]) and len(text) > MAX_VALUE_CHARS:
            fields[name] = text[: MAX_VALUE_CHARS - 1] + "…"
    fields["duration_ms"] = round(access.duration_ms, 3)
    if access.first_event_ms is not None:
        fields["first_event_ms"] = round(access.first_event_ms, 3)
    try:
        line = msgspec.json.encode(fields)
    except UnicodeEncodeError:  # half of a surrogate pair
        line = b"\xff"
    # Python's own encoder is slower, but escapes everything that is not ASCII.
    return (line if line.isascii() else _encode(fields).encode()) + b"\n"


_TEXTS = tuple(f.name for f in msgspec.structs.fields(Access) if f.type in (str, str | None))
_encode = json.JSONEncoder(separators=(",", ":")).encode


def open_access_log(target: str | os.PathLike[str]) -> JsonAccessLog:
    """Return the configured log.

    Args:
        target: "-" for stdout, or a file that is created with mode 0600 and appended to. Rotate
            it by copying and truncating.

    Raises:
        ConfigurationError: if the file cannot be opened.
    """
    try:
        if target == "-":
            return JsonAccessLog(os.dup(sys.stdout.fileno()))
        # Non-blocking while opening only: a named pipe would wait for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(target, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the access log {target} cannot be opened: {error.strerror or error}"
        ) from error
    os.set_blocking(descriptor, True)
    return JsonAccessLog(descriptor)
