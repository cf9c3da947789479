"""Opens a Redis: for stores that block and run in threads, or for an event loop."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from berlin.errors import ConfigurationError
from berlin.types import Secret


def open_redis(
    url: Secret,
    operation_timeout_s: float,
    setting: str,
    library: Literal["redis", "redis.asyncio"] = "redis",
    **options: Any,
) -> tuple[Any, Any]:
    """Return a client, and the class of its errors. Nothing is sent yet.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with its password.
        operation_timeout_s: the limit of each operation in seconds.
        setting: the name of the setting that has the URL.
        library: where the client comes from; that of `redis.asyncio` belongs to the running loop.
        options: more options of the client.

    Raises:
        ConfigurationError: if the extra is not installed, or the URL is invalid.
    """
    try:
        redis, retry = import_module(library), import_module(f"{library}.retry")
        from redis.backoff import NoBackoff
        from redis.maint_notifications import MaintNotificationsConfig
    except ImportError as error:
        raise ConfigurationError(
            f"{setting} in Redis needs one more package: pip install 'berlin-llm[redis]'"
        ) from error
    try:
        # A slow Redis is worse than an unreachable one: no retries, short timeouts.
        client = redis.Redis.from_url(
            url.reveal(),
            socket_timeout=operation_timeout_s,
            socket_connect_timeout=operation_timeout_s,
            retry=retry.Retry(NoBackoff(), 0),
            # With them the library does not see that an idle connection was closed, and the first
            # operation after that fails.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **options,
        )
    except ValueError:  # its text may contain a part of the password
        raise ConfigurationError(f"{setting} is not a Redis URL: redis://…") from None
    return client, redis.RedisError
