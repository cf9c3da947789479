"""Reloads a changed configuration while the gateway runs, completely or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from berlin.config import Config
from berlin.errors import BerlinError
from berlin.gateway.access.guard import Guard
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.setup import (
    accounts_of,
    build_catalog,
    refresh_models,
    requires_keys,
    watch_logins,
)
from berlin.gateway.workers.worker import Worker
from berlin.ledger.prices import Prices
from berlin.routing.base.background import Background

_log = logging.getLogger("berlin.gateway")


class Reload:
    """Replaces the providers of a running gateway.

    The configuration is read and checked in a thread, and then replaces the old one in one step.
    Open answers continue with the providers they started with. An invalid configuration changes
    nothing.

    Args:
        gateway: the gateway to change.
        load: reads the configuration again.
    """

    def __init__(self, gateway: Gateway, load: Callable[[], Config]) -> None:
        self._gateway = gateway
        self._load = load
        self._background = Background()

    async def __call__(self) -> bool:
        """Read the configuration and use it; return whether it was valid."""
        gateway = self._gateway
        try:
            config, catalog = await asyncio.to_thread(self._build, gateway.catalog)
        except BerlinError as error:
            _log.error("config.kept the new one is wrong: %s", error.message)
            return False
        except Exception:
            _log.exception("config.kept the new one cannot be used")
            return False
        self._switch(config, catalog)
        # Of several workers, the parent says it once.
        level = logging.WARNING if gateway.worker is None else logging.INFO
        _log.log(level, "config.loaded providers=%s", ",".join(catalog.services))
        return True

    def _build(self, before: Catalog) -> tuple[Config, Catalog]:
        config = self._load()
        return config, check_config(config, before, self._gateway.worker)

    def _switch(self, config: Config, catalog: Catalog) -> None:
        gateway, server = self._gateway, config.server
        before, kept = gateway.catalog, set(catalog.services.values())
        retired = [service for service in before.services.values() if service not in kept]
        self._background.begin(_retire(retired, before, catalog))
        gateway.catalog = catalog
        catalog.activate()
        gateway.limiter.use(config.limits, config.prices)
        gateway.guard.use(server.allowed_hosts, server.cors_origins, server.trusted_proxies)
        gateway.guard.use_issuers(config.issuers)
        if requires_keys(server):
            gateway.guard.require_keys()
            if not gateway.guard.keys:
                _log.error("keys.missing nobody is let in until there are keys")
        if gateway.ledger is not None:
            gateway.ledger.use(Prices(config.prices), accounts_of(config, catalog))
        if gateway.metrics is not None:
            gateway.metrics.know(catalog.services)
            watch_logins(catalog, gateway.metrics)
        self._background.begin(refresh_models(gateway))


async def _retire(services: list[Service], before: Catalog, after: Catalog) -> None:
    """Close what a new configuration no longer has, as soon as its last answer has ended."""
    await asyncio.gather(*(service.retire() for service in services))
    old, new = before.routes, after.routes
    if old is not None and (new is None or new.counters is not old.counters):
        await old.counters.aclose()


def check_config(
    config: Config, before: Catalog | None = None, worker: Worker | None = None
) -> Catalog:
    """Return the catalog of a configuration.

    Args:
        config: the whole file.
        before: the providers so far; unchanged ones keep their connections.
        worker: which of several workers this process is.

    Raises:
        BerlinError: if the gateway cannot use it.
    """
    server = config.server
    guard = Guard(None, server.allowed_hosts, server.cors_origins, server.trusted_proxies)
    guard.use_issuers(config.issuers)
    return build_catalog(config, before, worker)
