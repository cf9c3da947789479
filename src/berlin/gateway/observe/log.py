"""The access log: one JSON line for each request, without prompt or answer."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import KEY_PREFIX
from berlin.gateway.observe.visit import Visit, milliseconds

MAX_VALUE_CHARS = 200
# The most unwritten lines; further ones are dropped and counted.
MAX_PENDING = 10_000
BATCH_S = 0.05
LAST_LINES_S = 2.0

_log = logging.getLogger("berlin.gateway")


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
        """Log a visit; see `Observer`. The line is written within `BATCH_S`."""
        if len(self._lines) >= MAX_PENDING:
            self._lose(1, "lines come faster than they can be written")
            return
        self._lines.append(encode_access(visit, self._clock()))
        if not self._changed.is_set():
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


def encode_access(visit: Visit, at: float) -> bytes:
    """Return the line of a request; what is missing is `null`.

    It is ASCII: control characters, line ends of every kind and direction marks are escaped, so
    that no value can end the line or control a terminal.

    Args:
        visit: the request.
        at: seconds since the epoch.
    """
    usage, first, started = visit.usage, visit.first_event_at, visit.started
    method, path, model, remote = visit.method, visit.path, visit.model, visit.remote
    if len(method) + len(path) + len(model) + len(remote) > MAX_VALUE_CHARS:
        method, path, model, remote = map(_cut, (method, path, model, remote))
    fields = {
        "time": f"{_time_of(int(at))}.{int(at % 1 * 1000):03}Z",
        "request_id": visit.id,
        "method": method,
        "path": path.partition("?")[0],
        "face": visit.face or None,
        "provider": visit.provider or None,
        "model": model or None,
        "key": visit.key or None,
        "status": visit.status,
        "outcome": visit.outcome,
        "answered_by": (started.provider or None) if started else None,
        "attempts": visit.attempts,
        "stream": visit.stream,
        "duration_ms": milliseconds(visit.seconds),
        "first_event_ms": None if first is None else milliseconds(first - visit.began_at),
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "bytes_out": visit.bytes_out,
        "remote": remote or None,
    }
    try:
        line = _encode(fields)
    except UnicodeEncodeError:  # half of a surrogate pair
        line = b"\xff"
    # Python's own encoder is slower, but escapes everything that is not ASCII.
    line = line if line.isascii() else _escape(fields).encode()
    # Clients whose base URL holds their key, or that send it as a model, are only mistaken.
    return (_KEY.sub(rb"\1***", line) if KEY_PREFIX.encode() in line else line) + b"\n"


_KEY = re.compile(rb"(%s)[\w-]{12,}" % KEY_PREFIX.encode())


_encode = msgspec.json.Encoder().encode
_escape = json.JSONEncoder(separators=(",", ":")).encode


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


@lru_cache(1)
def _time_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:-6]


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
