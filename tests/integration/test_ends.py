"""What a client has been told is done, other workers know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import ClientSession

from berlin.config.tables.limits import LimitsConfig
from berlin.errors import ServiceUnavailableError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.admission import Admission
from berlin.gateway.access.limits.limiter import Limiter
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.observe.visit import Visit
from berlin.gateway.response import StreamedResponse
from berlin.gateway.stored.record import Record
from berlin.gateway.stored.responses import StoredResponses
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.counters.contract import Reservation
from berlin.routing.counters.memory import MemoryCounters
from berlin.types import Finished, Secret, TextDelta
from support.gateway import BERLIN, OPENAI, At, serve
from support.stored import SlowEngine

HELLO = [TextDelta("Hello"), Finished()]
LIMITS = LimitsConfig(models={"s:*": ["1000 tokens/minute"]})


class SlowCounters(MemoryCounters):
    """Counters whose settlements others see only when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.seen = asyncio.Event(), asyncio.Event()

    def settle(  # type: ignore[override]  # it takes time
        self, reserved: Reservation, amounts: Sequence[int | None]
    ) -> asyncio.Future[None]:
        super().settle(reserved, amounts)
        self.asked.set()

        async def wait() -> None:
            await self.seen.wait()

        return asyncio.ensure_future(wait())


async def everything(session: ClientSession, url: str, **body: Any) -> bytes:
    """Return all bytes of an answer, whatever its status."""
    asked = {"model": "s:m1", "messages": [{"role": "user", "content": "Hi"}], **body}
    async with session.post(url, json=asked) as answer:
        return await answer.read()


@pytest.mark.parametrize(
    ("script", "stream", "end"),
    [
        (HELLO, True, b"[DONE]"),
        (HELLO, False, b'"stop"'),
        ([TextDelta("Hello"), ServiceUnavailableError("down")], True, b"error"),
        ([ServiceUnavailableError("down")], True, b"error"),
        ([ServiceUnavailableError("down")], False, b"error"),
    ],
    ids=["stream", "whole", "broken off", "failed stream", "failed"],
)
async def test_no_end_before_others_see_the_cost(
    script: Sequence[object], stream: bool, end: bytes
) -> None:
    """The client hears of the end, good or bad, when its cost is settled for all workers."""
    counters = SlowCounters()
    service = Service("s", ScriptedProvider([*script]), ["m1"])
    gateway = Gateway(Catalog([service]), limiter=Limiter(LIMITS, {}, counters))
    async with serve(gateway=gateway) as at:
        url = at.url + OPENAI.path
        asked = asyncio.create_task(everything(at.session, url, stream=stream))
        await counters.asked.wait()
        for _ in range(20):
            assert (await at.get("/healthz")).status == 200
        assert not asked.done()
        counters.seen.set()
        assert end in await asked


@pytest.mark.parametrize("script", [HELLO, [TextDelta("x"), ServiceUnavailableError("down")]])
async def test_a_slot_is_free_before_the_end(
    script: Sequence[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may get the next request of a client when it has seen the end."""
    admission = Admission(1, 0, 1.0)
    inside: list[int] = []
    end = StreamedResponse.end

    async def note(self: StreamedResponse) -> None:
        inside.append(admission.inside)
        await end(self)

    monkeypatch.setattr(StreamedResponse, "end", note)
    service = Service("s", ScriptedProvider([*script]), ["m1"], admission=admission)
    async with serve(service) as at:
        await everything(at.session, at.url + OPENAI.path, stream=True)
        assert (inside, admission.inside) == ([0], 0)


@pytest.fixture
async def slow() -> AsyncIterator[tuple[SlowEngine, At]]:
    """A gateway whose store is slow."""
    engine = SlowEngine()
    stored = StoredResponses(engine)
    gateway = Gateway(
        Catalog([Service("s", ScriptedProvider(HELLO), ["m1"])]),
        stored=stored,
    )
    async with serve(gateway=gateway) as at:
        yield engine, at
        engine.may.set()
    stored.close()


async def test_a_client_that_leaves_while_its_answer_is_stored(
    slow: tuple[SlowEngine, At],
) -> None:
    """Its request ends, its response is stored, and the next one is answered."""
    engine, at = slow
    url = at.url + "/v1/responses"
    asked = asyncio.create_task(everything(at.session, url, input="Hi", stream=True))
    await asyncio.to_thread(engine.asked.wait, 30)
    asked.cancel()
    while at.gateway.streams.open.now:
        assert (await at.get("/healthz")).status == 200
    engine.may.set()
    made = json.loads(await everything(at.session, url, input="Hi"))
    assert made["status"] == "completed"


async def test_a_store_that_is_closed_meanwhile() -> None:
    """What comes after the end of the store is not stored, and fails nothing."""
    stored = StoredResponses.in_memory()
    stored._thread.shutdown()

    def make() -> Record:
        raise AssertionError("never called")

    assert stored.put(make) is None
    assert stored._places.acquire(blocking=False)
    stored._engine = None
    await stored.written(None)


async def test_a_password_that_changes_while_it_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login with the old password does not open a session of the new one."""
    verify = Accounts.verify

    async def changed(self: Accounts, name: str, password: Secret) -> bool:
        right = await verify(self, name, password)
        self.add(name, Secret("another password"))
        return right

    monkeypatch.setattr(Accounts, "verify", changed)
    async with serve(Service("s", ScriptedProvider(HELLO), ["m1"])) as at:
        assert (await at.ask(BERLIN)).status == 401


class Visits:
    """An observer that remembers whether the client had left."""

    def __init__(self) -> None:
        self.left: list[bool] = []

    def ended(self, visit: Visit) -> None:
        """Remember."""
        self.left.append(visit.left)

    def close(self) -> None:
        """Do nothing."""


async def test_a_stop_while_others_do_not_see_the_cost_yet() -> None:
    """The answer ends with an error event; its client has not left."""
    counters, visits = SlowCounters(), Visits()
    service = Service("s", ScriptedProvider(HELLO), ["m1"])
    limiter = Limiter(LIMITS, {}, counters)
    gateway = Gateway(Catalog([service]), limiter=limiter, observers=[visits])
    async with serve(gateway=gateway) as at:
        url = at.url + OPENAI.path
        asked = asyncio.create_task(everything(at.session, url, stream=True))
        await counters.asked.wait()
        gateway.streams.end_all()
        assert b"stopping" in await asked
        counters.seen.set()
        while not visits.left:
            await asyncio.sleep(0)
    assert visits.left == [False]
