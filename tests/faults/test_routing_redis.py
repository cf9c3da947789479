"""Faults of Redis, as far as routing shares its state there; each gate and circuit is a process."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from berlin import errors
from berlin.config import load_config
from berlin.gateway.setup import build_gateway
from berlin.ledger.open import upgrade_ledger
from berlin.routing.base.circuit import Permit
from berlin.routing.base.limits import Limits
from berlin.routing.base.resting import REST_S
from berlin.routing.counters.contract import (
    Calendar,
    Claim,
    Refusal,
    Reservation,
    Sliding,
    Window,
)
from berlin.routing.counters.memory import MemoryCounters
from berlin.routing.counters.redis import RedisCounters
from berlin.routing.counters.scripts import HOLD_S
from berlin.routing.counters.shared import OnFailure, SharedCounters
from berlin.routing.shared.answers import SharedAnswers, encode_bursts
from berlin.routing.shared.circuit import SharedCircuit
from berlin.routing.shared.server import PREFIX, SharedRedis
from berlin.types import Finished, Secret, Started, TextDelta, TextReplaced, Usage, UsageReport
from support.clock import Clock, zone_at_noon
from support.gateway import OPENAI, make_key, serve
from support.token_processes import Redis, redis_server

_T = TypeVar("_T")


@pytest.fixture
async def redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Redis]:
    """A Redis of its own, which a busy machine may make slow."""
    monkeypatch.setattr("berlin.routing.shared.server.LOST_S", HOLD_S)
    monkeypatch.setattr("berlin.routing.counters.shared.PAY_AGAIN_S", 60.0)
    COUNTERS.clear()
    patience_s = None if "R04" in request.node.name else 5.0
    async with redis_server(tmp_path / "redis", patience_s) as server:
        yield server


@asynccontextmanager
async def shared(redis: Redis, clock: Clock | None = None) -> AsyncIterator[SharedRedis]:
    """Give a process's way to Redis."""
    one = SharedRedis(Secret(redis.url), clock or time.monotonic, chance=lambda: 0.5)
    try:
        yield one
    finally:
        await one.aclose()


async def bounded(work: Awaitable[_T]) -> _T:
    """Wait for something that must not take long, whatever Redis does."""
    async with asyncio.timeout(30):
        return await work


async def taken(*gates: Limits, times: int = 10, tokens: int = 0) -> int:
    """Ask each gate so often, all at once; return how many requests were let through."""
    asked = [gate.take(tokens) for _ in range(times) for gate in gates]
    return sum(isinstance(one, Reservation) for one in await asyncio.gather(*asked))


COUNTERS: list[SharedCounters] = []
"""Those made by the running test."""


def gate(
    redis: SharedRedis,
    replica: str = "r1",
    clock: Callable[[], float] = time.monotonic,
    on_failure: OnFailure = "divide",
    **limits: int,
) -> Limits:
    """Return a gate of a process."""
    counters = SharedCounters(
        RedisCounters(redis), MemoryCounters(clock), owner=replica, on_failure=on_failure
    )
    COUNTERS.append(counters)
    return Limits(counters, "work", **limits)


async def test_R09_two_replicas_and_one_limit(redis: Redis) -> None:
    """A limit of seven a minute lets seven through in all, however they are spread."""
    async with shared(redis) as one, shared(redis) as two:
        both = gate(one, requests_per_minute=7), gate(two, "r2", requests_per_minute=7)
        assert await taken(*both) == 7
        turn = await both[1].take(0)
        assert isinstance(turn, float)
        assert 50 < turn <= 60


async def test_R10_A15_tokens_of_a_minute_are_not_overspent(redis: Redis) -> None:
    """What is reserved in parallel is counted; what is settled makes room or takes it."""
    async with shared(redis) as one, shared(redis) as two:
        limits = {"tokens_per_minute": 1000}
        first, second = gate(one, **limits), gate(two, "r2", **limits)
        passed = [await first.take(300) for _ in range(3)]
        assert all(isinstance(one, Reservation) for one in passed)
        assert isinstance(await second.take(300), float)
        for each in passed:
            first.leave(each, 10)
        await settled(one)
        assert await taken(second, times=5, tokens=300) == 3


async def settled(redis: SharedRedis) -> None:
    """Wait for what nobody else waits for."""
    while redis._background or any(counters._remote._background for counters in COUNTERS):
        await asyncio.sleep(0.01)


async def test_concurrent_over_replicas(redis: Redis) -> None:
    """A place that one process leaves is free for the other."""
    async with shared(redis) as one, shared(redis) as two:
        first, second = gate(one, concurrent=1), gate(two, "r2", concurrent=1)
        passed = await first.take(0)
        assert isinstance(passed, Reservation)
        turn = await second.take(0)
        assert isinstance(turn, float)
        assert turn < 1  # nobody tells it, so it looks again
        first.leave(passed)
        await settled(one)
        assert isinstance(await second.take(0), Reservation)


async def test_R08_a_replica_that_was_killed(redis: Redis) -> None:
    """Its places are free when it has not been heard of for a while."""
    async with shared(redis) as one, shared(redis) as two:
        dead, alive = gate(one, "dead", concurrent=1), gate(two, "alive", concurrent=1)
        assert isinstance(await dead.take(0), Reservation)
        assert isinstance(await alive.take(0), float)
        await redis.command("ZADD", "berlin:routing:owners", "1", "dead")
        assert isinstance(await alive.take(0), Reservation)


async def test_R12_clocks_that_disagree(redis: Redis) -> None:
    """The minute is Redis's: a process whose clock is five minutes off gets no more."""
    async with shared(redis) as one, shared(redis) as two:
        first = gate(one, "a", Clock(0), requests_per_minute=5)
        second = gate(two, "b", Clock(300), requests_per_minute=5)
        assert await taken(first, second) == 5


@pytest.mark.parametrize("how", ["R01 down", "R04 slow", "R03 readonly", "R05 oom", "R05 noauth"])
async def test_without_redis(redis: Redis, how: str) -> None:
    """Nothing hangs; circuits are those of the process, and limits its share of them."""
    async with shared(redis) as one, shared(redis) as two:
        mine = gate(one, requests_per_minute=10)
        await mine.take(0)
        await gate(two, "r2", requests_per_minute=10).take(0)
        await mine.take(0)  # now it has seen the other one
        match how:
            case "R01 down":
                await redis.stop()
            case "R04 slow":
                redis.pause()
            case "R03 readonly":
                await redis.command("REPLICAOF", "127.0.0.1", "1")
            case "R05 oom":
                await redis.command("CONFIG", "SET", "maxmemory", "1")
            case "R05 noauth":
                await redis.command("CONFIG", "SET", "requirepass", "x")
                await one.aclose()
        # R13: five are its share of ten, and two have passed already.
        assert await bounded(taken(mine, times=20)) == 3
        circuit = SharedCircuit("work", one, time.monotonic, failures=1)
        permit = await bounded(circuit.admit())
        assert permit.granted
        circuit.fail(permit)
        assert not (await bounded(circuit.admit())).granted
        assert await bounded(SharedAnswers(one, 60).load("key")) is None
        if how == "R04 slow":
            redis.resume()


async def test_refuse_without_redis(redis: Redis) -> None:
    """With `refuse` nothing that has a limit is sent without Redis."""
    async with shared(redis) as one:
        mine = gate(one, requests_per_minute=10, on_failure="refuse")
        assert isinstance(await mine.take(0), Reservation)
        await redis.stop()
        for _ in range(2):
            with pytest.raises(errors.LimitReachedError, match="cannot be checked"):
                await bounded(mine.take(0))


async def test_R02_redis_comes_back(redis: Redis) -> None:
    """After its rest it is used again, without a restart of anything."""
    clock = Clock(0)
    async with shared(redis, clock) as one:
        mine = gate(one, requests_per_minute=100)
        await redis.stop()
        assert isinstance(await bounded(mine.take(0)), Reservation)
        assert one.rests
        await redis.start()
        clock.now += REST_S * 2
        assert not one.rests
        assert isinstance(await mine.take(0), Reservation)
        assert b"1" in await redis.command("HGET", "berlin:routing:count:work:requests", "used")


async def test_r02_a_connection_that_was_closed_while_idle(redis: Redis) -> None:
    """A Redis that closes idle connections, or was restarted meanwhile, does not count as down."""
    claim = Claim("c", DAY, 10)
    async with shared(redis) as one:
        first = counters(one, "first")
        await passed(first, "a", claim)
        await settled(one)
        await redis.command("CLIENT", "KILL", "TYPE", "normal")
        await asyncio.sleep(0.05)
        assert (await passed(first, "b", claim)).shared_at is not None
        assert not one.rests


async def test_R17_processes_come_back_one_by_one() -> None:
    """Rests are spread from one to three seconds."""
    rests = set()
    for chance in (0.0, 0.5, 1.0):
        clock = Clock(0)
        one = SharedRedis(Secret("redis://127.0.0.1:1/0"), clock, chance=lambda c=chance: c)
        assert await gate(one, requests_per_minute=1).take(0)
        clock.now = 1.5
        rests.add(one.rests)
        await one.aclose()
    assert rests == {True, False}


async def test_R06_values_of_the_wrong_type(redis: Redis) -> None:
    """They are replaced, and the limit and the circuit work on."""
    async with shared(redis) as one:
        for name in ("owners", "count:work:requests", "count:work:requests:slots"):
            await redis.command("SET", f"berlin:routing:{name}", "poison")
        await redis.command("RPUSH", "berlin:routing:circuit:{work}", "poison")
        await redis.command("RPUSH", "berlin:routing:answer:key", "poison")
        assert await taken(gate(one, requests_per_minute=3)) == 3
        circuit = SharedCircuit("work", one, time.monotonic, failures=1)
        circuit.fail(await circuit.admit())
        await settled(one)
        assert not (await circuit.admit()).granted
        assert await SharedAnswers(one, 60).load("key") is None


async def test_R07_what_redis_has_forgotten(redis: Redis) -> None:
    """No process lets more through than the limit, also if the counts are evicted; for a moment
    after that nothing passes."""
    async with shared(redis) as one:
        mine = gate(one, requests_per_minute=4)
        assert await taken(mine, times=3) == 3
        await redis.command("FLUSHALL")
        assert await taken(mine, times=9) == 0
        await asyncio.sleep(HOLD_S + 0.01)
        assert await taken(mine, times=9) == 1


async def test_R16_no_secrets(redis: Redis) -> None:
    """A dump has names of providers and counts."""
    async with shared(redis) as one:
        await taken(gate(one, requests_per_minute=3, tokens_per_minute=9))
        keys = await redis.command("KEYS", "*")
        assert keys.count(b"berlin:routing:count:work:") == 4
        assert keys.count(b"berlin:") == 6


async def test_one_circuit_for_all(redis: Redis) -> None:
    """What one process learns the other knows; one of them probes; both are let through again."""
    async with shared(redis) as one, shared(redis) as two:
        clock = time.monotonic
        first = SharedCircuit("work", one, clock, failures=2, cool_down_s=0.2)
        second = SharedCircuit("work", two, clock, failures=2, cool_down_s=0.2)
        for circuit in (first, second):
            circuit.fail(await circuit.admit())
            await settled(circuit._redis)
        told = await first.admit(), await second.admit()
        assert [permit.granted for permit in told] == [False, False]
        assert (first.state, second.state) == ("open", "open")
        await asyncio.sleep(0.25)
        probes = [await first.admit(), await second.admit(), await first.admit()]
        assert [permit.probe for permit in probes] == [True, False, False]
        assert sum(permit.granted for permit in probes) == 1
        first.succeed(probes[0])
        await settled(one)
        assert (await second.admit()) == Permit(granted=True)


async def test_a_time_that_a_service_names_holds_for_all(redis: Redis) -> None:
    """After a `Retry-After` at one process the other sends nothing either."""
    async with shared(redis) as one, shared(redis) as two:
        first = SharedCircuit("work", one, time.monotonic)
        first.rest(30)
        await settled(one)
        permit = await SharedCircuit("work", two, time.monotonic).admit()
        assert not permit.granted
        assert 29 < permit.wait_s <= 30


async def test_answers_for_all(redis: Redis) -> None:
    """An answer that one process got is played by the other, with its age."""
    rewritten = [TextDelta("…"), TextReplaced("Hi")]
    bursts = [[Started("a", "m"), *rewritten], [UsageReport(Usage(1, 2)), Finished()]]
    async with shared(redis) as one, shared(redis) as two:
        SharedAnswers(one, 60).save("key", bursts)
        await settled(one)
        found = await SharedAnswers(two, 60).load("key")
        assert found is not None
        assert list(found[0]) == bursts
        assert 0 <= found[1] < 5
        assert await SharedAnswers(two, 60).load("other") is None


async def test_R18_other_releases(redis: Redis) -> None:
    """Members that a later release writes are passed over; an event that is unknown is a miss."""
    data = encode_bursts([[Finished()]])
    async with shared(redis) as one:
        await redis.command("HSET", "berlin:routing:circuit:{work}", "colour", "blue")
        assert (await SharedCircuit("work", one, time.monotonic).admit()).granted
        newer = data.replace(b"Finished", b"Finalise")
        client = one._client()
        await client.set("berlin:routing:answer:key", newer)
        assert await SharedAnswers(one, 60).load("key") is None
        await client.set("berlin:routing:answer:key", data)
        assert await SharedAnswers(one, 60).load("key") is not None


def test_an_address_that_is_none() -> None:
    """What is no URL of a Redis is told when the configuration is read."""
    with pytest.raises(errors.ConfigurationError, match="is not a Redis URL"):
        SharedRedis(Secret("nonsense"))
    assert math.isfinite(REST_S)


def counters(redis: SharedRedis, owner: str) -> SharedCounters:
    """Return the counters of a process."""
    made = SharedCounters(RedisCounters(redis), owner=owner)
    COUNTERS.append(made)
    return made


async def test_R10_A15_a_budget_of_all_replicas(redis: Redis) -> None:
    """At the end of a budget one more request passes, of all that ask at once everywhere; a cost
    is settled once; what a killed process had reserved stays counted, but blocks nobody."""
    month = Calendar("month", zone_at_noon())
    async with shared(redis) as one, shared(redis) as two:
        first, second = counters(one, "first"), counters(two, "second")
        claim = Claim("money", month, 1_000_000_000_000, 600_000_000_000, overdraw=True)
        taken = await first.reserve("a", [claim])
        assert isinstance(taken, Reservation)
        refused = await second.reserve("b", [msgspec.structs.replace(claim, limit=600_000_000_000)])
        assert isinstance(refused, Refusal)
        assert (refused.wait_s, refused.held) == (2, 600_000_000_000)  # all of it is only reserved
        for _ in range(2):
            first.settle(taken, [900_000_000_000])
            await settled(one)
        told = await asyncio.gather(
            *(each.reserve(f"c{n}", [claim]) for n in range(5) for each in (first, second))
        )
        passed = [each for each in told if isinstance(each, Reservation)]
        assert {each.used for each in passed} == {(1_500_000_000_000,)}
        assert len({each.id for each in passed}) == 1
        await redis.command("ZREM", "berlin:routing:owners", "first")
        await redis.command("ZREM", "berlin:routing:owners", "second")
        third = await counters(two, "third").reserve("d", [claim])
        assert isinstance(third, Refusal)
        assert third.used == 1_500_000_000_000
        assert third.wait_s > 2  # until the month ends, not until a request does


async def test_R12_the_day_is_that_of_the_server(redis: Redis) -> None:
    """A process whose clock is two days off counts in the same day as the others."""
    claim = Claim("k", DAY, 1)
    async with shared(redis) as one, shared(redis) as two:
        wrong = SharedCounters(RedisCounters(one, lambda: time.time() + 172_800), owner="wrong")
        COUNTERS.append(wrong)
        assert isinstance(await wrong.reserve("a", [claim]), Reservation)
        assert isinstance(await counters(two, "right").reserve("b", [claim]), Refusal)


async def test_r01_readiness_with_refuse(redis: Redis, tmp_path: Path) -> None:
    """Where nothing is sent without Redis, the gateway is not ready while it is down."""
    path = tmp_path / "berlin.toml"
    path.write_text(f'[shared]\nredis = "{redis.url}"\non_failure = "refuse"\n')
    gateway = build_gateway(load_config(path), None)
    async with serve(gateway=gateway) as at:
        assert (await at.get("/readyz")).status == 200
        await redis.stop()
        async with asyncio.timeout(30):
            while (ready := await at.get("/readyz")).status == 200:
                await asyncio.sleep(0.1)
        assert (ready.status, ready.json["status"]) == (503, "shared limits unavailable")


async def test_r09_a_key_at_two_gateways(redis: Redis, tmp_path: Path) -> None:
    """The rate and the budget of a key are those of all replicas together."""
    shown = make_key(tmp_path / "keys.sqlite", "k", limits=["5 requests/minute"])
    path = tmp_path / "berlin.toml"
    path.write_text(f'[shared]\nredis = "{redis.url}"\n')
    built = [build_gateway(load_config(path), tmp_path / "keys.sqlite") for _ in range(2)]
    async with serve(gateway=built[0]) as one, serve(gateway=built[1]) as two:
        told = await asyncio.gather(
            *(at.ask(OPENAI, model="guide", key=shown) for at in (one, two) for _ in range(5))
        )
    assert sorted(answer.status for answer in told) == [200] * 5 + [429] * 5


async def test_r12_the_clock_of_redis_is_set_back(redis: Redis) -> None:
    """What was counted an hour "later" leaves the window in a minute, a dead process is not taken
    for a live one for an hour, and a circuit does not stay open for one."""
    ahead = 3_600_000
    async with shared(redis) as one, shared(redis) as two:
        mine = gate(one, requests_per_minute=2)
        assert await taken(mine, times=2) == 2
        circuit = SharedCircuit("work", one, time.monotonic, failures=1, cool_down_s=5)
        circuit.fail(await circuit.admit())
        await settled(one)
        client = one._client()
        names = [f"{PREFIX}{name}" for name in ("owners", "count:work:requests:slots")]
        for name in names:
            for member in await client.zrange(name, 0, -1):
                await client.zincrby(name, ahead, member)
        for field in ("at", "until"):
            await client.hincrby(f"{PREFIX}circuit:{{work}}", field, ahead)
        wait = await gate(two, "r2", requests_per_minute=2).take(0)
        assert isinstance(wait, float)
        assert 50 < wait <= 60.1
        assert 0 < (await circuit.admit()).wait_s <= 5
        latest = await client.zrange(names[0], -1, -1, withscores=True)
        assert latest[0][1] <= time.time() * 1000


@pytest.mark.parametrize("where", ["redis", "file"])
async def test_r07_r14_budgets_come_from_the_ledger_when_nobody_remembers(
    redis: Redis, tmp_path: Path, where: str
) -> None:
    """A Redis without files and all gateways are restarted, or `limits.sqlite` is deleted: what the
    ledger has of the day still counts, for this key only."""
    limits = ["2 requests/day", "100000 tokens/month"]
    shown, other = (make_key(tmp_path / "keys.sqlite", name, limits=limits) for name in "ko")
    ledger = f'[ledger]\nurl = "sqlite:///{tmp_path}/l"\njournal = "{tmp_path}/j"\n'
    path = tmp_path / "berlin.toml"
    ledger += f'[limits]\ntime_zone = "{zone_at_noon()}"\n'
    path.write_text(ledger + (f'[shared]\nredis = "{redis.url}"\n' if where == "redis" else ""))
    config = load_config(path)
    assert config.ledger is not None
    await asyncio.to_thread(upgrade_ledger, config.ledger, {})
    for status in (200, 429):
        async with serve(gateway=build_gateway(config, tmp_path / "keys.sqlite")) as at:
            told = [await at.ask(OPENAI, model="guide", key=shown) for _ in range(2)]
            assert [answer.status for answer in told] == [status] * 2
        await redis.stop()
        await redis.start()
        for file in tmp_path.glob("limits.sqlite*"):
            file.unlink()
    async with serve(gateway=build_gateway(config, tmp_path / "keys.sqlite")) as at:
        assert (await at.ask(OPENAI, model="guide", key=other)).status == 200


DAY = Calendar("day", zone_at_noon())
LOSSES = ("emptied", "set back", "evicted")


async def lose(redis: Redis, how: str, *processes: SharedRedis) -> None:
    """Let Redis lose its counts, all of them or the last ones."""
    if how == "evicted":
        await redis.command("FLUSHALL")
        return
    await redis.stop()
    await redis.start()
    for each in processes:
        await each.aclose()  # they would notice with their next call
    if how == "set back":
        client, _ = processes[0]._open()
        for key, data in SNAPSHOT.items():
            await client.restore(key, 0, data, replace=True)
        await client.aclose()


SNAPSHOT: dict[bytes, bytes] = {}


async def keep_snapshot(redis: SharedRedis) -> None:
    """Keep what Redis holds now."""
    SNAPSHOT.clear()
    for key in await redis._client().keys("*"):
        SNAPSHOT[key] = await redis._client().dump(key)


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("window", [DAY, Sliding(60.0)], ids=["day", "minute"])
async def test_R07_R14_counts_that_redis_has_lost(redis: Redis, how: str, window: Window) -> None:
    """A counter is filled again from what the processes saw last, whoever of them asks first."""
    claim = Claim("c", window, 100, 10)
    async with shared(redis) as one, shared(redis) as two:
        first, second = counters(one, "first"), counters(two, "second")
        for n in range(2):
            first.settle(await passed(first, f"a{n}", claim), [None])
        await settled(one)
        await keep_snapshot(one)
        second.settle(await passed(second, "b", claim), [25])
        await settled(one)
        await lose(redis, how, one, two)
        used = [(await passed(each, f"c{n}", claim)).used for n, each in enumerate((first, second))]
        assert used == [(30,), (65,)]


async def test_r14_requests_that_run_while_counts_are_lost(redis: Redis) -> None:
    """What they used takes the place of what they had reserved, once."""
    claims = [Claim("day", DAY, 100, 40, overdraw=True), Claim("rate", Sliding(60.0), 100, 40)]
    async with shared(redis) as one, shared(redis) as two:
        first, second = counters(one, "first"), counters(two, "second")
        taken = await passed(first, "a", *claims)
        await lose(redis, "emptied", one, two)
        assert (await passed(second, "b", *claims)).used == (40, 40)
        for _ in range(2):
            first.settle(taken, [15, 50])
            await settled(one)
        small = [Claim(one.counter, one.window, 100, 1) for one in claims]
        assert (await passed(second, "c", *small)).used == (56, 91)


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("settles", [False, True], ids=["reserves", "settles"])
async def test_R07_R14_a_process_that_is_idle(redis: Redis, how: str, settles: bool) -> None:
    """A process that asks first does not know what an idle one has used since, but the ledger does:
    nothing more is let pass, whatever is asked first."""
    history = [0]

    async def before(begins: float) -> int:
        return history[0]

    claim = Claim("c", DAY, 100, 10, before=before)
    async with shared(redis) as one, shared(redis) as two:
        idle, second = counters(one, "idle"), counters(two, "second")
        running = await passed(second, "a", claim)
        await keep_snapshot(one)
        idle.settle(await passed(idle, "b", claim), [85])
        await settled(one)
        history[0] = 95
        await lose(redis, how, one, two)
        if settles:
            second.settle(running, [10])
            await settled(two)
        assert isinstance(await second.reserve("c", [claim]), Refusal)
        small = await passed(second, "d", Claim("c", DAY, 100, 1, before=before))
        assert small.used == (96,)


async def test_R07_R14_nothing_passes_until_all_have_asked(redis: Redis) -> None:
    """The process that asks first does not know what others have seen: a counter that is filled
    again admits nothing for a moment, in which they ask, too."""
    claim = Claim("c", Sliding(60.0), 100, 10)
    async with shared(redis) as one, shared(redis) as two:
        first, second = counters(one, "first"), counters(two, "second")
        await passed(second, "a", claim)
        first.settle(await passed(first, "b", claim), [85])
        await settled(one)
        await lose(redis, "emptied", one, two)
        held = [await each.reserve("c", [claim]) for each in (second, first)]
        assert all(isinstance(one, Refusal) and 0 < one.wait_s <= HOLD_S + 0.01 for one in held)
        await asyncio.sleep(HOLD_S + 0.01)
        refused = await second.reserve("d", [claim])
        assert isinstance(refused, Refusal)
        assert (refused.used, refused.wait_s > 2 * HOLD_S) == (95, True)


@pytest.mark.parametrize("first", ["new", "settles"])
async def test_R07_R14_idle_processes_report_by_themselves(redis: Redis, first: str) -> None:
    """When Redis was restarted empty, nothing passes until idle processes have looked at it: not
    for a process that has seen nothing, and not after a settlement that knows less than they."""

    async def before(begins: float) -> int:
        return 0

    claim = Claim("c", DAY, 100, 10, before=before)
    small = Claim("c", DAY, 100, 5, before=before)
    rate = Claim("r", Sliding(60.0), 3, kept=True)
    async with shared(redis) as one, shared(redis) as two, shared(redis) as three:
        idle, second, new = (counters(each, f"p{n}") for n, each in enumerate((one, two, three)))
        running = await passed(second, "a", claim, rate)
        idle.settle(await passed(idle, "b", claim, rate), [85, None])
        await settled(one)
        await lose(redis, "emptied", one, two)
        if first == "settles":
            second.settle(running, [10, None])
            await settled(two)
        else:
            assert await second._remote.report()
        held = await new.reserve("c", [rate, small])
        assert isinstance(held, Refusal)
        assert 0 < held.wait_s <= HOLD_S
        assert await idle._remote.report()
        await asyncio.sleep(held.wait_s)
        assert (await passed(new, "d", small, rate)).used == (100, 3)
        assert isinstance(await new.reserve("e", [rate]), Refusal)
        assert await idle._remote.report()  # once is enough
        assert isinstance(await idle.reserve("f", [small]), Refusal)


async def test_r07_counts_of_another_minute_or_day(redis: Redis) -> None:
    """What was seen longer ago than a window is not counted again."""
    short = Claim("c", Sliding(0.05), 10, 3)
    async with shared(redis) as one:
        first = counters(one, "first")
        await passed(first, "a", short)
        await lose(redis, "emptied", one)
        await asyncio.sleep(0.06)
        assert not await first._remote.report()
        assert (await passed(first, "b", short)).used == (3,)


async def test_r02_what_was_used_without_redis(redis: Redis) -> None:
    """A process that has counted alone reports what was used when Redis is back."""
    claims = [Claim("day", DAY, 100, 30), Claim("rate", Sliding(60.0), 9, kept=True)]
    clock = Clock(0)
    async with shared(redis, clock) as one, shared(redis) as two:
        mine = counters(one, "first")
        await redis.stop()
        alone = await passed(mine, "a", *claims)
        assert alone.shared_at is None
        await redis.start()
        clock.now += REST_S * 2
        mine.settle(alone, [20, None])
        await mine._keep()
        while mine._remote._background:
            await asyncio.sleep(0.01)
        assert (await passed(counters(two, "second"), "b", *claims)).used == (50, 2)


async def passed(counters: SharedCounters, id: str, *claims: Claim) -> Reservation:
    """Reserve what must fit; a counter that was lost admits nothing for a moment."""
    told = await counters.reserve(id, claims)
    if isinstance(told, Refusal) and told.wait_s <= HOLD_S + 0.01:
        await asyncio.sleep(told.wait_s)
        told = await counters.reserve(id, claims)
    assert isinstance(told, Reservation), told
    return told
