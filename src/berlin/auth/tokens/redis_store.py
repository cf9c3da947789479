"""Tokens in Redis: shared by all replicas of a service."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from berlin.auth.tokens.store import Lease, Record, Sealer, Service, TokenKey
from berlin.transport.redis import open_redis
from berlin.types import Secret

LEASE_MS = 4_000
OPERATION_TIMEOUT_S = 0.6
PREFIX = "berlin:token:"
# A record with a refresh token, or with a token of unknown lifetime, expires if it is unused for a
# month; others when nobody needs them any more.
KEEP_S = 30 * 24 * 3600
LEAST_KEEP_S = 900
# Longer than any process can be late with a write.
KEEP_FENCE_S = 24 * 3600

_log = logging.getLogger("berlin.auth")

# All times are the server's: replicas' clocks are not used. The fence grows with each holder of
# the lock, and lives as long as the record it guards. A lock that never expires or lasts longer
# than any of ours, or a fence that is not a number, is not ours and is replaced.
_LOCK = """
local left = redis.call('pttl', KEYS[1])
if left == -1 or left > 2 * tonumber(ARGV[2]) then redis.call('del', KEYS[1]) end
if not redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2]) then return 0 end
local fence = redis.pcall('incr', KEYS[2])
if type(fence) == 'table' then
  redis.call('del', KEYS[2])
  fence = redis.call('incr', KEYS[2])
end
redis.call('expire', KEYS[2], ARGV[3])
return fence
"""
_EXTEND = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])
"""
_UNLOCK = """
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('del', KEYS[1])
"""
_SAVE = """
local held = redis.pcall('get', KEYS[2])
local fence = type(held) == 'string' and tonumber(held) or 0
if fence > tonumber(ARGV[2]) then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'ex', ARGV[3])
redis.call('expire', KEYS[2], ARGV[4])
return 1
"""


class RedisStore:
    """One value, one lock and one fence for each key.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        sealer: encrypts the records; a dump of Redis must reveal nothing.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """

    timeout_s = 0.8
    forgets = True

    def __init__(self, url: Secret, sealer: Sealer) -> None:
        self._sealer = sealer
        self._redis, errors = open_redis(url, OPERATION_TIMEOUT_S, "tokens.store")
        self._errors = (errors, OSError)

    def load(self, key: TokenKey) -> Record | None:
        """Return the stored record; an invalid value counts as missing, with one warning."""
        record = self._read(_name(key))
        return record if record is not None and record.belongs_to(key) else None

    def save(self, key: TokenKey, record: Record, lease: Lease | None) -> None:
        """Store a record, unless a later holder of the lock has stored one."""
        names = (_name(key), _name(key, "fence"))
        data = self._sealer.seal(record)
        fence = lease.fence if lease else 0
        keep = _keep_s(record)
        times = (keep, max(keep, KEEP_FENCE_S))
        if not self._call(self._redis.eval, _SAVE, 2, *names, data, fence, *times):
            _log.warning("tokens.late_write_refused")

    def entries(self) -> list[Record]:
        """Return all stored records."""
        return [record for _, record in self._records()]

    def delete(self, service: Service | None = None) -> int:
        """Delete the tokens of one service, or all."""
        names = self._names()
        if service is not None:
            names = [name for name, record in self._records() if record.service == service]
        return sum(self._call(self._redis.delete, name) for name in names)

    def try_lock(self, key: TokenKey) -> Lease | None:
        """Take the lock of a key if it is free, for `LEASE_MS`."""
        proof = secrets.token_hex(16)
        names = (_name(key, "lock"), _name(key, "fence"))
        fence = self._call(self._redis.eval, _LOCK, 2, *names, proof, LEASE_MS, KEEP_S)
        return Lease(_name(key, "lock"), int(fence), proof) if fence else None

    def extend(self, lease: Lease) -> bool:
        """Extend a lock by another `LEASE_MS`."""
        return bool(self._call(self._redis.eval, _EXTEND, 1, lease.name, lease.proof, LEASE_MS))

    def unlock(self, lease: Lease) -> None:
        """Release a lock, if it is still ours."""
        self._call(self._redis.eval, _UNLOCK, 1, lease.name, lease.proof)

    def _names(self) -> list[bytes]:
        found = self._call(lambda: list(self._redis.scan_iter(f"{PREFIX}*:record", count=500)))
        return sorted(found)

    def _records(self) -> list[tuple[bytes, Record]]:
        found = ((name, self._read(name)) for name in self._names())
        return [(name, record) for name, record in found if record is not None]

    def _read(self, name: str | bytes) -> Record | None:
        return self._sealer.read("store=redis", lambda: self._get(name))

    def _get(self, name: str | bytes) -> bytes | None:
        try:
            data: bytes | None = self._call(self._redis.get, name)
        except OSError as error:
            if "WRONGTYPE" in str(error):
                raise ValueError("it is of another type") from None
            raise
        return data

    def _call(self, operation: Any, *arguments: Any) -> Any:
        try:
            return operation(*arguments)
        except self._errors as error:
            raise OSError(f"Redis: {type(error).__name__}: {str(error)[:100]}") from None


def _keep_s(record: Record) -> int:
    """Return for how many seconds a record is of use."""
    if record.refresh_token or (record.token is not None and record.expires_at is None):
        return KEEP_S
    until = max(record.expires_at or 0.0, record.refused_until)
    if record.pause is not None:
        until = max(until, record.pause.until)
    return int(min(max(until - time.time(), LEAST_KEEP_S), KEEP_S))


def _name(key: TokenKey, what: str = "record") -> str:
    # One hash tag, so that a cluster keeps the three together.
    return f"{PREFIX}{{{key.digest}}}:{what}"
