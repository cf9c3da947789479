"""Models composed of several providers, as the gateway offers them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from berlin.config import Config
from berlin.config.models.shared import open_counters, open_shared
from berlin.gateway.access.admission import Admission
from berlin.gateway.catalog import AT_ONCE, WAIT_S, WAITING, Catalog, Service
from berlin.gateway.workers.worker import Worker
from berlin.opening import open_provider, without_retries
from berlin.providers.contract import Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.base.wrapper import Wrapper
from berlin.routing.retry import Retry

if TYPE_CHECKING:
    from berlin.config.models.routes import Routes


def build_models(
    config: Config,
    services: dict[str, Service],
    before: Catalog | None,
    worker: Worker | None = None,
) -> tuple[dict[str, Service], Routes | None, dict[str, Provider]]:
    """Return the models of a configuration as services, what they are made of, and the providers
    with their limits.

    Models share connections and logins with the services, and the limits of providers.

    Args:
        config: the whole file.
        services: the providers.
        before: the providers and models so far; unchanged models are kept.
        worker: which of several workers this process is.
    """
    limited = [n for n in services if n in config.providers and config.providers[n].limit]
    if not config.models and not limited:
        return {}, None, {}
    opened: dict[str, Provider] = {}

    def borrow(name: str) -> Provider:
        if name in services:
            return _Borrowed(without_retries(services[name].bare))
        if name not in opened:
            opened[name] = without_retries(open_provider(name, config))
        return opened[name]

    routes = _open_routes(config, borrow, before.routes if before is not None else None, worker)
    models: dict[str, Service] = {}
    for name in config.models:
        key = _key(name, routes, services)
        kept = before.services.get(name) if before is not None else None
        if kept is not None and kept.key == key and isinstance(kept.bare, ChatProvider):
            models[name] = kept
            routes.keep(name, kept.bare)
    for name in config.models:
        if name not in models:
            models[name] = _service(name, routes, services)
    # Each attempt counts, so a limit is inside the retries.
    return (
        {name: models[name] for name in config.models},
        routes,
        {n: Retry(routes.limited(n, without_retries(services[n].bare))) for n in limited},
    )


def _open_routes(
    config: Config,
    borrow: Callable[[str], Provider],
    before: Routes | None,
    worker: Worker | None,
) -> Routes:
    # All wrappers of routing, only where there are models or limits.
    from berlin.config.models.routes import Routes
    from berlin.routing.counters.shared import SharedCounters
    from berlin.routing.counters.sqlite import SqliteCounters

    if before is not None and before.config.shared == config.shared:
        shared, counters = before.shared, before.counters
    else:
        shared, before = open_shared(config.shared), None
        counters = (
            SharedCounters(SqliteCounters(worker.folder / "limits.sqlite"))
            if worker is not None and shared is None
            else open_counters(config.shared, shared)
        )
    place = worker.circuit if worker is not None else None
    return Routes(config, borrow, shared, counters, place=place, before=before)


def _key(name: str, routes: Routes, services: dict[str, Service]) -> Hashable:
    """Return a value that differs between two models that are not made of the same parts."""
    config, (models, providers) = routes.config, routes.parts_of(name)
    return (
        repr([(each, config.models[each]) for each in sorted(models)]),
        repr([(each, config.providers.get(each)) for each in sorted(providers)]),
        tuple(services[each].key for each in sorted(providers) if each in services),
        (config.shared, config.conversations.session_headers),
        repr(config.aliases),
    )


def _service(name: str, routes: Routes, services: dict[str, Service]) -> Service:
    config = routes.config
    model = config.models[name]
    return Service(
        name,
        routes.open(name),
        # The providers' limits apply; this one only bounds what waits for them.
        admission=Admission(AT_ONCE * (len(model.entries) + 1), WAITING, WAIT_S),
        capabilities=set().union(*(s.capabilities for s in services.values())),
        key=_key(name, routes, services),
        is_routed=True,
        session_headers=config.conversations.session_headers,
        holds=model.break_after_text == "hold",
        serves_callers=any(s.serves_callers for s in services.values()),
    )


class _Borrowed(Wrapper):
    """A provider that is closed by its owner."""

    async def aclose(self) -> None:
        """Leave the connections open."""
