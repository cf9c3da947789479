"""The access log: one safe line for each request, whatever the request and the disk are like."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.access.keys import new_token
from berlin.gateway.observe.log import (
    MAX_PENDING,
    MAX_VALUE_CHARS,
    JsonAccessLog,
    _pieces,
    encode_access,
    open_access_log,
)
from berlin.gateway.observe.visit import Visit
from berlin.types import Usage


def request(**values: Any) -> Visit:
    """Return a request."""
    some = {"id": "r1", "method": "POST", "path": "/v1/chat", "remote": "", "status": 200}
    return Visit(**{**some, "headers": {}, "seconds": 0.01234567, **values})


def test_line_has_all_fields() -> None:
    """The line is JSON with the time in UTC and every field, also those without a value."""
    line = encode_access(request(model="gpt", stream=True, usage=Usage(3, 4)), 1_700_000_000.1239)
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.123Z",
        "request_id": "r1",
        "method": "POST",
        "path": "/v1/chat",
        "face": None,
        "provider": None,
        "model": "gpt",
        "key": None,
        "status": 200,
        "outcome": "ok",
        "answered_by": None,
        "attempts": None,
        "stream": True,
        "duration_ms": 12.346,
        "first_event_ms": None,
        "input_tokens": 3,
        "output_tokens": 4,
        "bytes_out": 0,
        "remote": None,
    }


@pytest.mark.parametrize(
    "value",
    [
        'a\nb\r\n{"time": "forged"}',
        "\u2028\u2029\x85\x0b\x0c\x1c",
        "\x1b[2J\x9b31m\x07\x7f\x00",
        "\u202eevil\u2066",
        '"\\',
        "\ud800",
        "Привет 🐻",
    ],
)
def test_x08_values_stay_in_their_line(value: str) -> None:
    """No value ends the line, drives a terminal or turns its text; and none is lost."""
    line = encode_access(request(model=value, path=f"/{value}", remote=value), 0.0)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert json.loads(line)["model"] == value


def test_a_key_in_the_wrong_place_is_masked() -> None:
    """A key of the gateway in a base URL, or sent as a model, is not written (A04)."""
    key = new_token()
    line = encode_access(request(model=f"{key}\u00e9", path=f"/{key}/v1/models"), 0.0)
    assert key[3:] not in line.decode()
    assert json.loads(line)["path"] == "/bk-***/v1/models"


def test_g43_long_values_are_cut() -> None:
    """A value of any length takes 200 characters."""
    line = json.loads(encode_access(request(model="x" * 100_000, path="y" * 201), 0.0))
    assert line["model"] == "x" * (MAX_VALUE_CHARS - 1) + "…"
    assert len(line["path"]) == MAX_VALUE_CHARS
    assert json.loads(encode_access(request(model="x" * 200), 0.0))["model"] == "x" * 200


def test_a04_query_is_not_logged() -> None:
    """What follows a question mark may be a key."""
    line = encode_access(request(path="/v1/models?key=bk-secret"), 0.0)
    assert json.loads(line)["path"] == "/v1/models"
    assert b"secret" not in line


def test_file_is_private_and_grows(tmp_path: Path) -> None:
    """The file is made with mode 0600; a second run writes at its end, in order."""
    path = tmp_path / "access.log"
    for run in range(2):
        log = open_access_log(path)
        for n in range(100):
            log.ended(request(id=f"{run}-{n}"))
        log.close()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["request_id"] for line in lines] == [
        f"{r}-{n}" for r in range(2) for n in range(100)
    ]
    assert datetime.fromisoformat(lines[0]["time"]).tzinfo is UTC


def test_line_is_written_soon(tmp_path: Path) -> None:
    """A line does not wait for the end or for others."""
    read, write = os.pipe()
    log = JsonAccessLog(write)
    for n in range(3):
        log.ended(request(id=str(n)))
        assert json.loads(os.read(read, 65536))["request_id"] == str(n)
    log.close()
    assert os.read(read, 1) == b""
    os.close(read)


def test_lines_of_many_threads(tmp_path: Path) -> None:
    """No line is lost or mixed with another."""
    path = tmp_path / "access.log"
    log = open_access_log(path)

    def write(who: int) -> None:
        for n in range(500):
            log.ended(request(id=f"{who}-{n}"))

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = path.read_bytes().splitlines()
    assert {json.loads(line)["request_id"] for line in lines} == {
        f"{who}-{n}" for who in range(4) for n in range(500)
    }
    assert len(lines) == 2000


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """Give the ends of a small pipe."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    os.close(read)


def test_pipe_that_nobody_reads(
    full_pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """A request never waits for the log; what does not fit in memory is counted, and told once."""
    read, write = full_pipe
    log = JsonAccessLog(write)
    total = 2 * MAX_PENDING + 1000
    with caplog.at_level(logging.ERROR, "berlin.gateway"):
        for n in range(total):
            log.ended(request(id=str(n)))
    assert 1000 <= log.lost <= total - MAX_PENDING
    assert [r.message.split(" ")[0] for r in caplog.records] == ["access_log.lost"]
    read_all: list[bytes] = []
    reading = threading.Thread(target=_read_to_end, args=(read, read_all))
    reading.start()
    log.close()
    reading.join(20)
    assert len(b"".join(read_all).splitlines()) == total - log.lost


def _read_to_end(descriptor: int, into: list[bytes]) -> None:
    while data := os.read(descriptor, 65536):
        into.append(data)


def test_closed_pipe(caplog: pytest.LogCaptureFixture) -> None:
    """When the reader is gone, lines are counted and it is told once."""
    read, write = os.pipe()
    os.close(read)
    log = JsonAccessLog(write)
    with caplog.at_level(logging.ERROR, "berlin.gateway"):
        for n in range(1, 4):
            log.ended(request())
            while log.lost < n:  # until the limit of a test
                time.sleep(0.005)
        log.close()
    assert log.lost == 3
    assert [r.message for r in caplog.records] == ["access_log.lost error='Broken pipe'"]


_FILL = """
import logging, sys, time
from berlin.gateway.observe.log import open_access_log
from berlin.gateway.observe.visit import Visit
log = open_access_log(sys.argv[1])
def write(name):
    log.ended(Visit("GET", "/", "", {}, name, status=200))
for n in range(10):
    write(str(n))
while not log.lost:
    time.sleep(0.01)
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
write("later")
log.close()
print(log.lost)
"""


def test_g31_full_disk(tmp_path: Path) -> None:
    """A line that a full disk has cut stays alone: those after it are whole lines again."""
    path = tmp_path / "access.log"
    ended = subprocess.run(
        [sys.executable, "-c", _FILL, path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (700, 10**6)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("access_log.lost error=") == 1
    lines = path.read_bytes().split(b"\n")
    whole = []
    torn = 0
    for line in lines[:-1]:
        try:
            whole.append(json.loads(line)["request_id"])
        except ValueError:
            torn += 1
    assert whole == [*(str(n) for n in range(10 - int(ended.stdout))), "later"]
    assert torn == 1
    assert lines[-1] == b""


_STDOUT = """
from berlin.gateway.observe.log import open_access_log
from berlin.gateway.observe.visit import Visit
log = open_access_log("-")
log.ended(Visit("GET", "/", "", {}, "r1", status=200))
log.close()
print("stdout is still open")
"""


def test_stdout() -> None:
    """A dash is stdout, which is not closed at the end of the log."""
    ended = subprocess.run(
        [sys.executable, "-c", _STDOUT], capture_output=True, text=True, timeout=30
    )
    first, second = ended.stdout.splitlines()
    assert json.loads(first)["request_id"] == "r1"
    assert second == "stdout is still open"
    assert ended.stderr == ""


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """A folder, a path that is not there, and a named pipe without a reader are errors at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none" / "access.log", tmp_path / "pipe"):
        with pytest.raises(ConfigurationError, match=f"the access log {path} cannot be opened"):
            open_access_log(path)


def test_pieces_for_a_pipe_end_with_lines() -> None:
    """What several workers write to one pipe is whole lines, and no line is left out."""
    lines = [b"x" * size + b"\n" for size in (100, 3000, 2000, 9000, 1, 1)]
    pieces = list(_pieces(lines, 4096))
    assert [len(b"".join(piece)) for piece in pieces] == [3102, 2001, 9001, 4]
    assert list(_pieces(lines, None)) == [lines]
    assert list(_pieces([], 4096)) == []
