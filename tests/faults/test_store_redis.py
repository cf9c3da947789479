"""Faults of Redis, as far as tokens are concerned: what it holds, and what it refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from berlin.auth.grant import Grant
from berlin.auth.tokens.redis_store import LEASE_MS, RedisStore
from berlin.auth.tokens.store import Record, Sealer, TokenKey
from berlin.types import Secret
from support.redis_tokens import SEALER, process_like, store_of
from support.token_processes import Redis, redis_server
from support.token_service import TokenService, key_of

KEY = TokenKey("strict", "https://secret-host.example", "secret-ann", "f")
RECORD = Record.of(KEY, Grant(Secret("secret-token"), 1.0, None, Secret("secret-refresh")))


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis of its own."""
    async with redis_server(tmp_path / "redis", patience_s=30) as server:
        yield server


def name_of(key: TokenKey, what: str) -> str:
    return f"berlin:token:{{{key.digest}}}:{what}"


class NewerRecord(Record, frozen=True, omit_defaults=True):
    """A record as a later release of the same format might have it."""

    colour: str = ""


class OlderRecord(msgspec.Struct, frozen=True):
    """A record as an earlier release might have had it."""

    version: int
    recipe: str
    token: str | None = None


async def test_R06_wrong_type_of_record(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A list where the record should be is told once, and the login puts a record there."""
    async with TokenService() as service:
        await redis.command("RPUSH", name_of(key_of(service), "record"), "poison")
        for _ in range(2):
            async with process_like(tmp_path, service, redis.url) as berlin:
                assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert [r.getMessage().split()[0] for r in caplog.records] == ["tokens.ignored"]


@pytest.mark.parametrize("value", ["garbage", "{}", "gAAAAA=="])
async def test_R06_garbage_in_the_record(
    value: str, redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A record that nobody can read is told once, and the login puts a good one there."""
    async with TokenService() as service:
        await redis.command("SET", name_of(key_of(service), "record"), value)
        for _ in range(2):
            async with process_like(tmp_path, service, redis.url) as berlin:
                assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert [r.getMessage().split()[0] for r in caplog.records] == ["tokens.ignored"]


async def test_R06_record_of_another_key(redis: Redis, tmp_path: Path) -> None:
    """A record that somebody copied to another account's name is not used."""
    async with TokenService() as service:
        async with process_like(tmp_path, service, redis.url) as berlin:
            await berlin.ask("ann")
        ann, bob = (name_of(key_of(service, who), "record") for who in ("ann", "bob"))
        assert await redis.command("COPY", ann, bob) == b":1\r\n"
        async with process_like(tmp_path, service, redis.url, "bob") as berlin:
            assert (await berlin.ask("bob")).text == "bob"
        assert len(service.logins) == 2
        assert service.violations == []


@pytest.mark.parametrize("words", [("RPUSH", "poison"), ("SET", "poison")])
async def test_R06_poisoned_lock(words: tuple[str, str], redis: Redis, tmp_path: Path) -> None:
    """A lock that never ends is none of ours: it holds no request up, and is repaired."""
    async with TokenService() as service:
        await redis.command(words[0], name_of(key_of(service), "lock"), words[1])
        async with asyncio.timeout(30):
            for _ in range(2):
                async with process_like(tmp_path, service, redis.url) as berlin:
                    assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1


@pytest.mark.parametrize("words", [("RPUSH", "poison"), ("SET", "poison")])
async def test_R06_poisoned_fence(words: tuple[str, str], redis: Redis, tmp_path: Path) -> None:
    """A fence that is no number is begun anew; tokens are shared again."""
    async with TokenService() as service:
        await redis.command(words[0], name_of(key_of(service), "fence"), words[1])
        for _ in range(2):
            async with process_like(tmp_path, service, redis.url) as berlin:
                assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1


async def test_R06_entries_beside_poison(redis: Redis) -> None:
    """Listing and clearing the tokens goes on beyond a value that is poisoned."""
    store = store_of(redis.url)
    store.save(KEY, RECORD, None)
    await redis.command("RPUSH", "berlin:token:{0}:record", "poison")
    await redis.command("SET", "berlin:token:{z}:record", "poison")
    assert store.entries() == [RECORD]
    assert store.delete() == 3
    assert store.entries() == []


async def test_R07_evicted(redis: Redis, tmp_path: Path) -> None:
    """When Redis drops everything, who has a token goes on, and who has none logs in, once."""
    async with TokenService() as service:
        async with process_like(tmp_path, service, redis.url) as first:
            await first.ask("ann")
            await redis.command("FLUSHALL")
            assert (await first.ask("ann")).text == "ann"
            assert len(service.logins) == 1
            for _ in range(2):
                async with process_like(tmp_path, service, redis.url) as other:
                    assert (await other.ask("ann")).text == "ann"
        assert len(service.logins) == 2


async def test_R08_late_write_of_an_old_holder(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Who held the lock before the present holder writes no more, and is told so."""
    slow, quick = store_of(redis.url), store_of(redis.url)
    old = slow.try_lock(KEY)
    assert old is not None
    assert quick.try_lock(KEY) is None
    await redis.command("PEXPIRE", name_of(KEY, "lock"), "1")
    new = None
    while new is None:
        new = quick.try_lock(KEY)
    assert new.fence > old.fence
    quick.save(KEY, RECORD, new)
    with caplog.at_level(logging.WARNING):
        slow.save(KEY, msgspec.structs.replace(RECORD, token="late"), old)
    assert [r.getMessage() for r in caplog.records] == ["tokens.late_write_refused"]
    assert quick.load(KEY) == RECORD


async def test_R08_late_write_before_the_new_one(redis: Redis) -> None:
    """The old holder is refused from the moment when another has the lock."""
    store = store_of(redis.url)
    old = store.try_lock(KEY)
    await redis.command("DEL", name_of(KEY, "lock"))
    assert store.try_lock(KEY) is not None
    store.save(KEY, RECORD, old)
    assert store.load(KEY) is None


async def test_R08_old_holder_neither_extends_nor_unlocks(redis: Redis) -> None:
    """The lock of the present holder is out of the old one's reach."""
    store = store_of(redis.url)
    old = store.try_lock(KEY)
    assert old is not None
    await redis.command("DEL", name_of(KEY, "lock"))
    new = store.try_lock(KEY)
    assert new is not None
    assert not store.extend(old)
    store.unlock(old)
    assert store.extend(new)
    store.unlock(new)
    assert await redis.command("EXISTS", name_of(KEY, "lock")) == b":0\r\n"


async def test_R08_write_without_a_lock(redis: Redis) -> None:
    """Who never had the lock does not overwrite what its holders stored."""
    store = store_of(redis.url)
    lease = store.try_lock(KEY)
    store.save(KEY, RECORD, lease)
    store.save(KEY, msgspec.structs.replace(RECORD, token="late"), None)
    assert store.load(KEY) == RECORD


async def test_R12_leases_end_by_the_clock_of_redis(redis: Redis) -> None:
    """A lease is so many milliseconds of the server's time; no replica's clock is asked."""
    assert store_of(redis.url).try_lock(KEY) is not None
    answer = await redis.command("PTTL", name_of(KEY, "lock"))
    assert 0 < int(answer[1:]) <= LEASE_MS


async def test_R16_dump(redis: Redis, tmp_path: Path) -> None:
    """Neither the names nor the values nor the dump of Redis tell a token or whose it is."""
    store = store_of(redis.url)
    store.save(KEY, RECORD, store.try_lock(KEY))
    assert await redis.command("SAVE") == b"+OK\r\n"
    dump = (tmp_path / "redis" / "dump.rdb").read_bytes()
    names = await redis.command("KEYS", "*")
    assert names.startswith(b"*3\r\n")
    for what in ("record", "lock", "fence"):
        dump += await redis.command("GET", name_of(KEY, what))
        dump += await redis.command("DUMP", name_of(KEY, what))
    for text in (b"secret", b"token-", b"strict", b"example", b"sixteen"):
        assert text not in dump
    assert b"secret" not in names
    assert b"example" not in names


async def test_R16_other_key(redis: Redis) -> None:
    """Who has Redis but not the key reads nothing."""
    store_of(redis.url).save(KEY, RECORD, None)
    thief = RedisStore(Secret(redis.url), Sealer(Secret("sixteen letters?")))
    assert thief.load(KEY) is None
    assert thief.entries() == []


async def test_R16_records_do_not_stay_for_ever(redis: Redis) -> None:
    """What nobody uses any more leaves Redis after a month."""
    store = store_of(redis.url)
    store.save(KEY, RECORD, store.try_lock(KEY))
    for what in ("record", "fence"):
        seconds = int((await redis.command("TTL", name_of(KEY, what)))[1:])
        assert 29 * 86_400 < seconds <= 30 * 86_400


async def test_R18_record_of_a_newer_release(redis: Redis) -> None:
    """Members that this release does not know do not keep it from reading a record."""
    store = store_of(redis.url)
    newer = NewerRecord(**msgspec.structs.asdict(RECORD), colour="red")
    store.save(KEY, newer, None)
    assert store.load(KEY) == RECORD


async def test_R18_record_for_an_older_release(redis: Redis) -> None:
    """What this release stores is read by one that knows fewer members."""
    stored = msgspec.json.encode(msgspec.to_builtins(SEALER.open(SEALER.seal(RECORD))))
    older = msgspec.json.decode(b'{"version":1,' + stored[1:], type=OlderRecord)
    assert older == OlderRecord(1, "strict", "secret-token")
