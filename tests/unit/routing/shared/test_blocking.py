"""A Redis for stores that block."""

from __future__ import annotations

import pytest

from berlin.routing.shared.blocking import BlockingRedis
from berlin.types import Secret


def test_an_outage_costs_one_wait() -> None:
    """After a failure nothing is tried for a moment: threads and clients would wait in a queue."""
    redis = BlockingRedis(Secret("unix:///nowhere/redis.sock"), 0.5, "responses.store")
    tried: list[object] = []

    def operation(client: object) -> None:
        tried.append(client)
        raise ConnectionRefusedError

    for _ in range(3):
        with pytest.raises(OSError, match="Redis"):
            redis.run(operation)
    assert tried == [redis.client]
    assert redis.rests
    redis.close()


def test_an_error_is_an_answer() -> None:
    """A Redis that refuses one operation is used for others."""
    from redis.exceptions import ResponseError

    redis = BlockingRedis(Secret("unix:///nowhere/redis.sock"), 0.5, "responses.store")

    def refuse(client: object) -> None:
        raise ResponseError("WRONGTYPE")

    with pytest.raises(OSError, match="WRONGTYPE"):
        redis.run(refuse)
    assert not redis.rests
    redis.close()
