"""The ends of conversations in a real Redis: shared by replicas, and never the reason to fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.routing.conversations import Head
from berlin.routing.conversations.redis import PREFIX, RedisHeads
from berlin.types import Secret
from support.token_processes import redis_server


async def test_replicas_share_the_ends(tmp_path: Path) -> None:
    """What one replica keeps, exactly one of all takes, latest first; and it expires."""
    async with redis_server(tmp_path) as redis:
        one, two = RedisHeads(Secret(redis.url)), RedisHeads(Secret(redis.url))
        await one.put("k", Head("c1", "m1"))
        await one.put("k", Head("c2", "m2"))
        assert await two.take("k", keep=True) == Head("c2", "m2")
        taken = await asyncio.gather(*(each.take("k", keep=False) for each in (one, two, one)))
        assert sorted(head.conversation_id for head in taken if head) == ["c1", "c2"]
        await one.put("k", Head("c3"))
        assert 0 < one._redis.client.pttl(PREFIX + "k") <= 24 * 3600 * 1000
        await one.aclose()
        await two.aclose()


async def test_without_a_redis_a_turn_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Redis that is gone finds nothing and keeps nothing; the log says so, without its URL."""
    async with redis_server(tmp_path) as redis:
        heads = RedisHeads(Secret(redis.url))
        await heads.put("k", Head("c"))
    assert await heads.take("k", keep=False) is None
    await heads.put("k", Head("c"))
    assert "conversations_redis_failed" in caplog.text
    assert redis.url not in caplog.text
    await heads.aclose()


async def test_what_another_program_wrote_is_none(tmp_path: Path) -> None:
    """A value that is no end of a conversation counts as none."""
    async with redis_server(tmp_path) as redis:
        heads = RedisHeads(Secret(redis.url))
        heads._redis.client.lpush(PREFIX + "k", b"{broken")
        heads._redis.client.set(PREFIX + "text", b"text")
        assert await heads.take("k", keep=False) is None
        assert await heads.take("text", keep=False) is None
        await heads.aclose()


def test_no_url_of_a_redis() -> None:
    """A URL that is none is said at once."""
    with pytest.raises(ConfigurationError, match="not a Redis URL"):
        RedisHeads(Secret("redis://localhost:port"))
