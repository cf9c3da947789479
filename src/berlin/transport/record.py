"""Records requests and responses, and replays them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from berlin.errors import ProtocolError
from berlin.transport.sender import Answer, Sender
from berlin.types import HttpRequest, HttpResponse
from berlin.wire.transcript import Turn

# Headers that say nothing about the service, or too much about the user.
_KEPT_HEADERS = ("content-type", "retry-after", "location")


class Recorder:
    """Sends through another sender, and records requests and responses.

    Args:
        inner: the sender that really sends.
        seen: called with each request and its whole response when that was read or abandoned.
        keep: response headers to keep besides the usual ones, in lower case.

    Attributes:
        turns: requests and responses so far, in the order in which responses ended.
    """

    def __init__(
        self,
        inner: Sender,
        seen: Callable[[HttpRequest, HttpResponse], None] = lambda request, answer: None,
        keep: Collection[str] = (),
    ) -> None:
        self.turns: list[tuple[HttpRequest, HttpResponse]] = []
        self._inner = inner
        self._seen = seen
        self._keep = frozenset((*_KEPT_HEADERS, *keep))

    async def open(self, request: HttpRequest, connect_timeout: float) -> Answer:
        """Send a request; see `Sender`."""
        answer = await self._inner.open(request, connect_timeout)
        return _Recorded(answer, request, self._note, self._keep)

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._inner.aclose()

    def _note(self, request: HttpRequest, answer: HttpResponse) -> None:
        self.turns.append((request, answer))
        self._seen(request, answer)


class _Recorded(Answer):
    """A response that is recorded while it is read."""

    def __init__(
        self,
        inner: Answer,
        request: HttpRequest,
        note: Callable[[HttpRequest, HttpResponse], None],
        keep: Collection[str],
    ) -> None:
        self.status, self.headers = inner.status, inner.headers
        self._inner = inner
        self._request = request
        self._note = note
        self._keep = keep
        self._parts: list[bytes] = []
        self._is_noted = False

    async def read(self) -> bytes:
        data = await self._inner.read()
        self._parts.append(data)
        return data

    @property
    def cookies(self) -> dict[str, str]:
        return self._inner.cookies

    def close(self) -> None:
        self._inner.close()
        if not self._is_noted:
            self._is_noted = True
            kept = {n: v for n, v in self.headers.items() if n in self._keep}
            body = b"".join(self._parts)
            self._note(self._request, HttpResponse(self.status, kept, self.cookies, body))


class Replay:
    """Answers requests with recorded turns, in their order.

    Args:
        turns: the recorded turns.
        cut: splits a body into the chunks in which it arrives.
    """

    def __init__(
        self, turns: Iterable[Turn], cut: Callable[[bytes], Iterable[bytes]] = lambda body: [body]
    ) -> None:
        self._turns = list(turns)
        self._cut = cut
        self._next = 0

    @property
    def left(self) -> int:
        """The number of turns not yet requested."""
        return len(self._turns) - self._next

    async def open(self, request: HttpRequest, connect_timeout: float) -> Answer:
        """Return the next response.

        Raises:
            ProtocolError: if a different request was recorded here, or none.
        """
        if not self.left:
            raise ProtocolError(
                f"the transcript has ended, but {request.method} {request.path} was sent"
            )
        turn = self._turns[self._next]
        turn.check(request)
        self._next += 1
        return _Replayed(turn, iter(self._cut(turn.answer_body)))

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class _Replayed(Answer):
    def __init__(self, turn: Turn, reads: Iterator[bytes]) -> None:
        self.status, self.headers = turn.status, dict(turn.answer_headers)
        self._turn = turn
        self._reads = reads

    @property
    def cookies(self) -> dict[str, str]:
        return self._turn.cookies

    async def read(self) -> bytes:
        return next((data for data in self._reads if data), b"")
