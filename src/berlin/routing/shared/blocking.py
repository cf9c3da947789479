"""A Redis for stores that block and run in threads: an outage costs one short wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from berlin.routing.base.resting import Resting
from berlin.transport.redis import open_redis
from berlin.types import Secret

_T = TypeVar("_T")


class BlockingRedis(Resting):
    """Runs operations on a Redis, from any thread.

    When it does not answer, it is not used for a moment; see `Resting`.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        operation_timeout_s: the limit of each operation in seconds.
        setting: the name of the setting that has the URL.

    Attributes:
        client: the client of the library.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """

    def __init__(self, url: Secret, operation_timeout_s: float, setting: str) -> None:
        super().__init__(f"the Redis of {setting}")
        self.client, errors = open_redis(url, operation_timeout_s, setting)
        self._errors = (errors, OSError)

    def run(self, operation: Callable[[Any], _T]) -> _T:
        """Run an operation with the client. Raises OSError if that fails."""
        from redis.exceptions import ResponseError

        if self.rests:
            raise OSError("Redis failed a moment ago")
        try:
            return operation(self.client)
        except self._errors as error:
            if not isinstance(error, ResponseError):  # an error is an answer, too
                self.rest(error)
            raise OSError(f"Redis: {type(error).__name__}: {str(error)[:100]}") from None

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
