"""The gateway's access to stored responses: ordered, non-blocking, separated by tenant."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from berlin.errors import InvalidRequestError, UnavailableError
from berlin.gateway.stored.record import Engine, Record
from berlin.gateway.stored.sqlite import SqliteEngine

EXPIRE_S = 30 * 86_400.0
MAX_COUNT = 10_000
MAX_BYTES = 128 * 1024 * 1024

MAX_WAITING = 1_000
"""The most responses that wait to be stored: a slow disk must not fill the memory."""

MAX_WRITE_S = 5.0
"""How long the end of an answer waits for it to be stored: a slow disk must not stop answers."""

MAX_CHAIN = 1_000
"""The longest chain of responses that one may continue."""

MAX_HISTORY_BYTES = 32 * 1024 * 1024
"""The most stored bytes that one request may continue or refer to."""

_T = TypeVar("_T")
_log = logging.getLogger("berlin.gateway")


class StoredResponseNotFoundError(InvalidRequestError):
    """There is no such response, it has expired, or it is another tenant's."""

    http_status = 404
    code = "response_not_found"


class StoredResponses:
    """Stores and finds responses, one operation after the other.

    Args:
        engine: stores them; `None` stores nothing.
    """

    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "stored-responses")
        self._places = threading.Semaphore(MAX_WAITING)

    @classmethod
    def in_memory(cls) -> StoredResponses:
        """Return a store that lasts as long as the process."""
        return cls(SqliteEngine(None, EXPIRE_S, MAX_COUNT, MAX_BYTES))

    @property
    def is_on(self) -> bool:
        """Whether anything is stored."""
        return self._engine is not None

    def put(self, make: Callable[[], Record]) -> Future[None] | None:
        """Begin to store a response; may be called in any thread.

        Args:
            make: returns the record; called in another thread, because it may take long.

        Returns:
            what `written` waits for; `None` if the response is not stored.
        """
        if not self.is_on:
            return None
        if not self._places.acquire(blocking=False):
            _log.warning("responses.not_stored reason=%s", "too many wait to be stored")
            return None

        def run(engine: Engine) -> None:
            try:
                engine.put(make())
            except Exception as error:
                _log.warning("responses.not_stored reason=%s", error)
            finally:
                self._places.release()

        try:
            return self._begin(run)
        except OSError as error:  # it was closed meanwhile
            self._places.release()
            _log.warning("responses.not_stored reason=%s", error)
            return None

    async def written(self, writing: Future[None] | None) -> None:
        """Wait until a response is stored, so that the worker that gets its follow-up finds it."""
        if writing is not None:
            _, late = await asyncio.wait({asyncio.wrap_future(writing)}, timeout=MAX_WRITE_S)
            if late:
                _log.warning("responses.slow reason=%s", "an answer ended before it was stored")

    async def history(self, tenant: str, id: str) -> list[dict[str, Any]]:
        """Return the items of a response and of those it continues, oldest first.

        Raises:
            StoredResponseNotFoundError: if one of them is missing.
            InvalidRequestError: if they are too long in total.
            UnavailableError: if the store fails.
        """

        def read(engine: Engine) -> list[dict[str, Any]]:
            found: list[Record] = []
            at = id
            while at:
                record = engine.get(tenant, at)
                if record is None or len(found) >= MAX_CHAIN:
                    raise _not_found(at, "previous_response_id")
                found.append(record)
                _check_length(found, "previous_response_id")
                at = record.previous
            return [item for record in reversed(found) for item in record.items()]

        if not self.is_on:
            raise _not_found(id, "previous_response_id")
        return await self._run(read)

    async def get(self, tenant: str, id: str) -> Record:
        """Return a response. Raises StoredResponseNotFoundError, UnavailableError."""
        record = await self._run(lambda engine: engine.get(tenant, id)) if self.is_on else None
        if record is None:
            raise _not_found(id)
        return record

    async def items(self, tenant: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the stored items with these ids, where they exist.

        Raises:
            InvalidRequestError: if the responses with these items are too long in total.
            UnavailableError: if the store fails.
        """

        def read(engine: Engine) -> dict[str, dict[str, Any]]:
            found: dict[str, dict[str, Any]] = {}
            records: list[Record] = []
            for id in ids:
                if id not in found and (record := engine.find(tenant, id)) is not None:
                    records.append(record)
                    _check_length(records, "input")
                    found |= {item["id"]: item for item in record.items() if "id" in item}
            return found

        return await self._run(read) if ids and self.is_on else {}

    async def delete(self, tenant: str, id: str) -> None:
        """Delete a response. Raises StoredResponseNotFoundError, UnavailableError."""
        if not self.is_on or not await self._run(lambda engine: engine.delete(tenant, id)):
            raise _not_found(id)

    def close(self) -> None:
        """Store what is still waiting, and release the store."""
        if self.is_on:
            self._begin(lambda engine: engine.close())
        self._thread.shutdown()
        self._engine = None

    def _begin(self, work: Callable[[Engine], _T]) -> Future[_T]:
        if self._engine is None:
            raise OSError("closed")
        try:
            return self._thread.submit(work, self._engine)
        except RuntimeError:
            raise OSError("closed") from None

    async def _run(self, work: Callable[[Engine], _T]) -> _T:
        try:
            return await asyncio.wrap_future(self._begin(work))
        except OSError as error:
            _log.warning("responses.store_failed error=%s", error)
            raise UnavailableError(
                "the stored responses cannot be read at present; try again", retry_after=2
            ) from error


def _check_length(records: list[Record], param: str) -> None:
    if sum(record.size for record in records) > MAX_HISTORY_BYTES:
        raise InvalidRequestError.about(
            param, f"its stored history is longer than {MAX_HISTORY_BYTES} bytes; start a new one"
        )


def _not_found(id: str, param: str | None = None) -> StoredResponseNotFoundError:
    error = StoredResponseNotFoundError(
        f"there is no stored response {id[:80]!r}; it may have expired"
    )
    error.param = param
    return error
