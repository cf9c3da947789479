"""One request against a `FaultServer`: what came of it, in the words of a test."""

from __future__ import annotations

import asyncio
import itertools
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from berlin import Berlin, BerlinError, Timeouts
from support.fault_server import TOKEN, FaultServer, SeenRequest
from support.fault_steps import Script, login_answer
from support.moments import moment

# One account for each client: the system gives ports again, and a token, or the memory of a
# refused login, belongs to a URL and an account for as long as the process lives.
_ACCOUNTS = (f"mara-{number}" for number in itertools.count())
PASSWORD = "correct-horse-battery"
PROMPT = "What is Berlin?"
MOMENTS_S = (0.4, 1.0)

# For what must not run into a limit, also on a busy machine.
PATIENT = Timeouts(connect=5, first_event=10, idle=10, total=20)


@dataclass
class Outcome:
    """What a request came to: pieces of text, and the error after them, if there was one.

    Attributes:
        passed: which of MOMENTS_S passed before its end.
    """

    pieces: list[str]
    error: BerlinError | None
    passed: set[float]
    requests: list[SeenRequest]

    @property
    def text(self) -> str:
        """The whole text of an answer that did not fail."""
        if self.error is not None:
            raise self.error
        return "".join(self.pieces)

    @property
    def chats(self) -> list[SeenRequest]:
        """The chats that the server saw."""
        return [one for one in self.requests if one.path.endswith("/api/chat/completions")]

    @property
    def logins(self) -> list[SeenRequest]:
        """The logins that the server saw."""
        return [one for one in self.requests if one.path.endswith("/api/login")]

    def failed_with(self, kind: type[BerlinError], *, after: Sequence[str] = ()) -> str:
        """Assert the very class of the error, and the text before it; return its message."""
        assert self.error is not None, f"no error, but the text {''.join(self.pieces)[:200]!r}"
        assert type(self.error) is kind, repr(self.error)
        assert "".join(self.pieces) == "".join(after)
        return self.error.message


def open_berlin(
    url: str, timeouts: Timeouts = PATIENT, *, proxy: str | None = None, ca_file: str | None = None
) -> Berlin:
    """Return a client of the service at a URL, with an account that nobody else has."""
    account = next(_ACCOUNTS)
    return Berlin(url, account, PASSWORD, proxy=proxy, ca_file=ca_file, timeout=timeouts)


async def ask(berlin: Berlin, prompt: str = PROMPT) -> Outcome:
    """Send one prompt and collect all that comes of it."""
    pieces: list[str] = []
    error: BerlinError | None = None
    moments = {seconds: moment(seconds) for seconds in MOMENTS_S}
    try:
        async with aclosing(berlin.text(prompt)) as answer:
            async for piece in answer:
                pieces.append(piece)
    except BerlinError as caught:
        error = caught
    passed = {seconds for seconds, one in moments.items() if one.is_set()}
    "".join(pieces).encode()  # whatever came can be written as UTF-8
    assert all(pieces), "an empty piece was yielded"
    if error is not None:
        _assert_tellable(error)
    return Outcome(pieces, error, passed, [])


async def play(
    *chats: Script,
    timeouts: Timeouts = PATIENT,
    logins: Sequence[Script] = (login_answer(TOKEN),),
    prompt: str = PROMPT,
) -> Outcome:
    """Send one prompt to a server that plays these scripts."""
    async with FaultServer(*chats, logins=logins) as server:
        async with open_berlin(server.url, timeouts) as berlin:
            outcome = await ask(berlin, prompt)
        outcome.requests = server.requests
        # Nothing stays open: neither after a good answer nor after an error.
        for connection in server.connections:
            await asyncio.wait_for(connection.ended(), 20)
        return outcome


@contextmanager
def memory_bound(megabytes: float) -> Iterator[None]:
    """Assert that what is allocated inside never holds more than so much at once."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (peak - before) / 2**20 < megabytes


def _assert_tellable(error: BerlinError) -> None:
    """An error, with all its causes, tells no secret and no more of the body than a line."""
    assert len(error.message) <= 700
    for secret in (PASSWORD, TOKEN):
        assert secret not in told_by(error)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and all that it is chained to."""
    while error is not None:
        yield error
        error = error.__cause__


def told_by(error: BaseException | None) -> str:
    """Return all that an error tells with its causes."""
    return "".join(f"{one}\n{one!r}\n" for one in causes(error))
