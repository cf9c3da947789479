"""The gateway's edge takes whatever a stranger or a client sends, and answers in its own words.

A fixed number of inputs, each over a real connection: bytes that are no HTTP, heads with odd lines,
bodies that are nearly right. Every answer is a typed one below 500, or a closed connection; nothing
is logged as a failure of the gateway, and afterwards it serves as before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from support.face import LOGIN
from support.gateway import DIALECTS, OPENAI, At, serve

INPUTS = 60
AT_ONCE = 30
PATHS = [dialect.path for dialect in DIALECTS] + [
    *(LOGIN, "/v1/models", "/v1/embeddings", "/v1/completions", "/v1/messages/count_tokens"),
    *("/api/generate", "/api/show", "/api/embed", "/metrics", "/readyz", "/", "*", "//x", "/%00"),
]
NAMES = st.sampled_from(
    [
        *("Host", "Authorization", "x-api-key", "Origin", "X-Forwarded-For", "Forwarded", "token"),
        *("Content-Type", "Content-Length", "Transfer-Encoding", "Expect", "Upgrade", "Range"),
        *("x-session-id", "Access-Control-Request-Method", "Connection", "Content-Encoding"),
    ]
)
ODD = ("chunked", "-1", "1e3", "100-continue", "websocket", 'for="[::1"', "a" * 9_000)
VALUES = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30),
)
HEADS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
JSONS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
MEMBERS = [
    *("model", "messages", "input", "prompt", "tools", "tool_choice", "stream", "max_tokens"),
    *(
        "response_format",
        "stop",
        "system",
        "options",
        "metadata",
        "account",
        "password",
        "thinking",
    ),
]
BODIES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(MEMBERS), JSONS, max_size=4).map(json.dumps).map(str.encode),
)


@st.composite
def nearly(draw: Any) -> bytes:
    """Draw the body of a good request with one member replaced, at any depth."""
    dialect = draw(st.sampled_from(DIALECTS))
    body = dialect.body("Hi", "s:m1", draw(st.booleans()))
    place: Any = body
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner and draw(st.booleans())):
            break
        place = inner
    place[key] = draw(JSONS)
    return request_of(dialect.path, [], json.dumps(body).encode())


def request_of(path: str, head: list[tuple[str, str]], body: bytes) -> bytes:
    """Return the bytes of a request; its own lines come last."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head)]
    lines += ["Host: localhost", f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace") + body


REQUESTS = st.one_of(
    st.binary(min_size=1, max_size=80).map(lambda data: data + b"\r\n\r\n"),
    st.builds(request_of, st.sampled_from(PATHS), HEADS, BODIES),
    nearly(),
)


class Failures(logging.Handler):
    """Keeps what was logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if record.exc_info:
            self.seen.append(self.format(record))


async def status_of(at: At, data: bytes) -> int:
    """Return the status of the answer to some bytes; 0 if there was none."""
    async with at.connection() as (reader, writer):
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            writer.write_eof()
            async with asyncio.timeout(30):
                said = await reader.read()
            line = said.split(b"\r\n", 1)[0].split()
            return int(line[1]) if said.startswith(b"HTTP/1.") else 0
    return 0


async def try_all(inputs: list[bytes]) -> tuple[list[tuple[int, bytes]], list[str]]:
    """Send inputs to a gateway, and return statuses and what it logged as failures."""
    failures = Failures()
    log = logging.getLogger("berlin.gateway")
    log.addHandler(failures)
    try:
        async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
            found = [(await status_of(at, data), data) for data in inputs]
            assert (await at.ask(OPENAI)).status == 200
            assert at.gateway.bodies.budget.held(None) == 0
    finally:
        log.removeHandler(failures)
    return found, failures.seen


@settings(
    max_examples=INPUTS // AT_ONCE,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(REQUESTS, min_size=AT_ONCE, max_size=AT_ONCE))
def test_whatever_arrives_is_answered(inputs: list[bytes]) -> None:
    """No status of 500 or more, no traceback, and the next request is served."""
    found, failures = asyncio.run(try_all(inputs))
    assert [one for one in found if one[0] >= 500] == []
    assert failures == []
