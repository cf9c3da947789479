"""The line before the gateway: bounded, fair between tenants, and without a slot lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from berlin.errors import OverloadedError
from berlin.gateway.access.admission import Admission


class Room:
    """Requests in an admission: who is inside, in the order they came in, and who was refused."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.came_in: list[str] = []
        self.refused: list[str] = []
        self._go: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Let requests come; the tenant is the first letter of a name."""
        for name in names:
            self._go[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._visit(name))
            await settle()

    async def leave(self, *names: str) -> None:
        """Let requests end."""
        for name in names:
            self._go[name].set()
            await settle()

    def cancel(self, name: str) -> None:
        """Cancel a request, without giving it a turn."""
        self._tasks[name].cancel()

    def go(self, name: str) -> None:
        """Let a request end, without giving it a turn."""
        self._go[name].set()

    async def empty(self) -> None:
        """Let everybody go, and see that nothing is left."""
        for event in self._go.values():
            event.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        assert (self.admission.inside, self.admission.in_line) == (0, 0)

    async def _visit(self, name: str) -> None:
        try:
            async with self.admission.enter(name[0]):
                self.came_in.append(name)
                await self._go[name].wait()
        except OverloadedError:
            self.refused.append(name)


async def settle() -> None:
    """Give everybody their turns."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_at_most_so_many_inside() -> None:
    """Who comes first is inside, who comes later waits, and more than the line are refused."""
    room = Room(Admission(2, 2, 60))
    await room.come("a1", "a2", "a3", "a4", "a5")
    assert (room.came_in, room.refused) == (["a1", "a2"], ["a5"])
    assert (room.admission.inside, room.admission.in_line) == (2, 2)
    await room.leave("a2")
    assert room.came_in == ["a1", "a2", "a3"]
    await room.come("a6")
    await room.leave("a1", "a3")
    assert room.came_in == ["a1", "a2", "a3", "a4", "a6"]
    await room.empty()


async def test_g18_refusal_says_when_to_try_again() -> None:
    """Both refusals are a 429 with a time to wait, and say why."""
    admission = Admission(1, 0, 60)
    async with admission.enter():
        with pytest.raises(OverloadedError, match="1 concurrent requests and 0 waiting") as caught:
            async with admission.enter():
                raise AssertionError("it is let in")
    assert (caught.value.http_status, caught.value.retry_after) == (429, 2.0)
    admission = Admission(1, 1, 0.01)
    async with admission.enter():
        with pytest.raises(OverloadedError, match=r"no room within 0\.01 s") as caught:
            async with admission.enter():
                raise AssertionError("it is let in")
        assert admission.in_line == 0
    assert caught.value.retry_after == 2.0
    async with admission.enter():
        assert admission.inside == 1
    assert admission.inside == 0


async def test_error_inside_frees_the_slot() -> None:
    """A request that fails gives its slot back."""
    admission = Admission(1, 0, 60)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with admission.enter():
                raise ZeroDivisionError
    assert admission.inside == 0


async def test_g19_next_slot_is_for_the_newcomer() -> None:
    """A tenant that floods waits behind one that has nothing inside, however long it stands."""
    room = Room(Admission(2, 10, 60))
    await room.come("a1", "a2", "a3", "a4", "a5", "b1")
    await room.leave("a1")
    assert room.came_in[2:] == ["b1"]
    await room.come("b2")
    # One each inside: then in turn.
    await room.leave("a2")
    assert room.came_in[3:] == ["a3"]
    await room.leave("b1")
    assert room.came_in[4:] == ["b2"]
    await room.empty()


async def test_equals_take_turns() -> None:
    """With one slot, tenants are served in turn, each in its own order."""
    room = Room(Admission(1, 10, 60))
    await room.come("x1", "a1", "a2", "a3", "b1", "b2", "c1")
    for name in ("x1", "a1", "b1", "c1", "a2", "b2"):
        await room.leave(name)
    assert room.came_in == ["x1", "a1", "b1", "c1", "a2", "b2", "a3"]
    await room.empty()


async def test_g19_full_line_makes_room_for_another_tenant() -> None:
    """Who fills the line alone is pushed back to half of it, latest first; then it is full."""
    room = Room(Admission(1, 4, 60))
    await room.come("x1", "a1", "a2", "a3", "a4")
    await room.come("b1")
    assert room.refused == ["a4"]
    await room.come("b2")
    assert room.refused == ["a4", "a3"]
    await room.come("b3", "a5")
    assert room.refused == ["a4", "a3", "b3", "a5"]
    assert room.admission.in_line == 4
    await room.come("c1")
    assert len(room.refused) == 5
    assert room.refused[-1] in ("a2", "b2")
    await room.empty()


async def test_cancelled_waiter_leaves_the_line() -> None:
    """A client that leaves while it waits makes room, and takes no slot."""
    room = Room(Admission(1, 1, 60))
    await room.come("a1", "a2")
    room.cancel("a2")
    await settle()
    assert room.admission.in_line == 0
    await room.come("a3")
    await room.leave("a1")
    assert room.came_in == ["a1", "a3"]
    await room.empty()


async def _cancel_then_free(room: Room) -> None:
    room.cancel("a2")
    room.go("a1")


async def _free_then_cancel(room: Room) -> None:
    room.go("a1")
    await asyncio.sleep(0)  # a1 has left, and a2 holds its slot without knowing it
    room.cancel("a2")


async def _free_and_cancel(room: Room) -> None:
    room.go("a1")
    room.cancel("a2")


@pytest.mark.parametrize("meet", [_cancel_then_free, _free_then_cancel, _free_and_cancel])
async def test_cancelled_as_its_slot_comes(meet: Callable[[Room], Awaitable[None]]) -> None:
    """A slot that meets a cancellation goes on to the next one, once."""
    room = Room(Admission(1, 5, 60))
    await room.come("a1", "a2", "a3", "b1")
    await meet(room)
    await settle()
    assert len(room.came_in) == 2
    assert room.came_in[1] in ("a3", "b1")
    assert (room.admission.inside, room.admission.in_line) == (1, 1)
    await room.empty()


async def test_cancelled_as_it_is_sent_away() -> None:
    """A waiter that is pushed out and cancelled in the same turn is counted out once."""
    room = Room(Admission(1, 2, 60))
    await room.come("a1", "a2", "a3")
    room.cancel("a3")
    await room.come("b1")
    assert room.admission.in_line == 2
    await room.empty()


@pytest.mark.parametrize("seed", range(20))
async def test_a_storm_leaves_nothing(seed: int) -> None:
    """Whatever comes, is cancelled, fails or waits too long: the bounds hold and all is freed."""
    dice = random.Random(seed)
    at_once, waiting = dice.randint(1, 4), dice.randint(0, 6)
    admission = Admission(at_once, waiting, 0.005)
    inside: Counter[str] = Counter()
    ends: Counter[str] = Counter()

    async def visit(tenant: str) -> None:
        with suppress(ZeroDivisionError):
            try:
                async with admission.enter(tenant):
                    inside["now"] += 1
                    ends["came in"] += 1
                    # A slot that was handed over counts before its new holder has its turn.
                    assert inside["now"] <= admission.inside <= at_once
                    try:
                        for _ in range(dice.randint(0, 6)):
                            await asyncio.sleep(dice.choice((0, 0, 0.001)))
                        if dice.random() < 0.1:
                            raise ZeroDivisionError
                    finally:
                        inside["now"] -= 1
            except OverloadedError:
                ends["refused"] += 1

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(visit(dice.choice("aaaaab"))))
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
        if dice.random() < 0.5:
            await asyncio.sleep(0)
        assert admission.in_line <= waiting
        assert admission.inside == at_once or admission.in_line == 0
    results = await asyncio.gather(*tasks, return_exceptions=True)
    wrong = [r for r in results if not isinstance(r, asyncio.CancelledError | None)]
    assert wrong == []
    assert (admission.inside, admission.in_line, inside["now"]) == (0, 0, 0)
    assert ends["came in"] > 0
    async with admission.enter("a"):
        assert admission.inside == 1


async def share(admission: Admission, tenant: str, count: int) -> list[asyncio.Task[None]]:
    """Let a tenant ask for slots that it keeps, where there are several tenants."""

    async def hold() -> None:
        async with admission.enter(tenant, shared=True):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(count)]
    await settle()
    return tasks


async def let_go(tasks: list[asyncio.Task[None]]) -> None:
    """End requests."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("at_once", "first"), [(64, 48), (8, 6), (4, 3), (2, 1), (1, 1)])
async def test_g19_long_answers_of_one_leave_slots_for_others(at_once: int, first: int) -> None:
    """One of several tenants takes three quarters; the next one comes in at once."""
    admission = Admission(at_once, 256, 60)
    flood = await share(admission, "a", 2 * at_once)
    assert admission.inside == first
    others = await share(admission, "b", 1)
    assert admission.inside == min(at_once, first + 1)
    await let_go(flood + others)
    assert (admission.inside, admission.in_line) == (0, 0)


async def test_g19_a_third_tenant_finds_a_slot_too() -> None:
    """However many flood, the one who holds nothing comes in as soon as anything is free."""
    admission = Admission(64, 256, 60)
    floods = [await share(admission, tenant, 64) for tenant in "abc"]
    before = admission.inside
    assert before < 64
    late = await share(admission, "d", 1)
    assert admission.inside == before + 1
    for tasks in (*floods, late):
        await let_go(tasks)


async def test_slots_that_come_free_go_to_those_who_may() -> None:
    """When others leave, a waiting flood moves up to its share and no further."""
    admission = Admission(8, 256, 60)
    others = await share(admission, "b", 2)
    flood = await share(admission, "a", 20)
    assert admission.inside < 8
    await let_go(others)
    await settle()
    assert admission.inside == 6
    await let_go(flood)
    assert (admission.inside, admission.in_line) == (0, 0)
