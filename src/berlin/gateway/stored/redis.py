"""Responses in Redis: shared by all replicas of a gateway."""

from __future__ import annotations

import zlib
from operator import methodcaller
from typing import Any

import msgspec

from berlin.gateway.stored.record import USED_TWICE, Record
from berlin.routing.shared.blocking import BlockingRedis
from berlin.types import Secret

OPERATION_TIMEOUT_S = 1.0
PREFIX = "berlin:response:"

_decode = msgspec.msgpack.Decoder(Record).decode
_encode = msgspec.msgpack.Encoder().encode


class RedisEngine:
    """One value for each response, one for each item in it; Redis itself forgets them in time.

    The total size is limited by Redis's own `maxmemory`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        expire_s: seconds after its last use until a response is deleted.
        max_bytes: the most bytes of one response.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is wrong.
    """

    def __init__(self, url: Secret, expire_s: float, max_bytes: int) -> None:
        self._expire_s = max(1, round(expire_s))
        self._max_bytes = max_bytes
        self._redis = BlockingRedis(url, OPERATION_TIMEOUT_S, "responses.store")

    def put(self, record: Record) -> None:
        """Store a record; see `Engine`."""
        if record.size > self._max_bytes:
            raise OSError("the response is larger than all that may be stored")
        data = zlib.compress(_encode(record), 1)

        name = _name(record.tenant, record.id)

        def run(redis: Any) -> bool:
            with redis.pipeline(transaction=False) as pipeline:
                pipeline.set(name, data, ex=self._expire_s, nx=True)
                for item in record.item_ids:
                    pipeline.set(_name(record.tenant, item), record.id, ex=self._expire_s)
                return bool(pipeline.execute()[0])

        if not self._redis.run(run):
            self._redis.run(lambda redis: redis.set(name, b"", ex=self._expire_s))
            raise OSError(USED_TWICE)

    def get(self, tenant: str, id: str) -> Record | None:
        """Return a record; see `Engine`."""
        name = _name(tenant, id)
        data = self._redis.run(lambda redis: redis.getex(name, ex=self._expire_s))
        if data is None:
            return None
        try:
            record = _decode(zlib.decompress(data))
        except (zlib.error, msgspec.DecodeError):
            return None  # not one of Berlin's records
        return record if (record.tenant, record.id) == (tenant, id) else None

    def find(self, tenant: str, item_id: str) -> Record | None:
        """Return a record that has the item; see `Engine`."""
        id = self._redis.run(lambda redis: redis.get(_name(tenant, item_id)))
        return self.get(tenant, id.decode("utf-8", "replace")) if id is not None else None

    def delete(self, tenant: str, id: str) -> bool:
        """Delete a record; see `Engine`."""
        record = self.get(tenant, id)
        if record is None:
            return False
        names = [_name(tenant, id), *(_name(tenant, item) for item in record.item_ids)]
        for name in names:  # one by one: a cluster keeps them on different nodes
            self._redis.run(methodcaller("delete", name))
        return True

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


def _name(tenant: str, id: str) -> str:
    return f"{PREFIX}{tenant}:{id}"
