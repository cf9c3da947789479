"""Models composed of several providers, as the gateway offers them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from berlin.config import Config
from berlin.config.models.routes import Routes
from berlin.config.models.shared import open_counters, open_shared
from berlin.gateway.access.admission import Admission
from berlin.gateway.catalog import AT_ONCE, WAIT_S, WAITING, Catalog, RoutingState, Service
from berlin.opening import open_provider, without_retries
from berlin.providers.contract import Bursts, Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.base.wrapper import Wrapper
from berlin.routing.retry import Retry
from berlin.routing.shared.closing import closing_with
from berlin.types import ChatRequest


def build_models(
    config: Config, services: dict[str, Service], before: Catalog | None
) -> tuple[dict[str, Service], Callable[[], RoutingState]]:
    """Return the models of a configuration as services, and a function that returns their state.

    Their providers share connections and logins with the services; their limits become those of the
    services, too.

    Args:
        config: the whole file.
        services: the providers.
        before: the providers and models so far; kept if unchanged.
    """
    key = (
        repr(config.models),
        repr(config.providers),
        config.shared,
        tuple(s.key for s in services.values()),
    )
    if before is not None and config.models:
        kept = {name: before.services[name] for name in config.models if name in before.services}
        if len(kept) == len(config.models) and all(s.key == key for s in kept.values()):
            return kept, before.routing
    opened: dict[str, Provider] = {}

    def borrow(name: str) -> Provider:
        if name in services:
            return _Borrowed(without_retries(services[name].bare))
        if name not in opened:
            opened[name] = without_retries(open_provider(name, config))
        return opened[name]

    shared = open_shared(config.shared)
    counters = open_counters(config.shared, shared)

    def closing(provider: ChatProvider) -> ChatProvider:
        return closing_with(provider, counters)

    routes = Routes(config, borrow, shared, counters)
    models = {
        name: _service(name, config, closing(routes.open(name)), services, key)
        for name in config.models
    }
    for name, service in services.items():
        table = config.providers.get(name)
        service.provider = service.bare
        if table is not None and table.limit is not None:
            # Each attempt counts, so the limit is inside the retries.
            limited = routes.limited(name, without_retries(service.bare))
            service.provider = closing(Retry(limited))
    return models, lambda: RoutingState(routes.states, routes.waiting)


def _service(
    name: str,
    config: Config,
    provider: ChatProvider,
    services: dict[str, Service],
    key: Hashable,
) -> Service:
    model = config.models[name]
    return Service(
        name,
        provider,
        # The providers' limits apply; this one only bounds what waits for them.
        admission=Admission(AT_ONCE * (len(model.entries) + 1), WAITING, WAIT_S),
        capabilities=set().union(*(s.capabilities for s in services.values())),
        key=key,
        is_routed=True,
        session_headers=config.conversations.session_headers,
        holds=model.break_after_text == "hold",
        serves_callers=any(s.serves_callers for s in services.values()),
    )


class _Borrowed(Wrapper):
    """A provider that is closed by its owner."""

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `ChatProvider.bursts`."""
        return self.inner.bursts(request)

    async def aclose(self) -> None:
        """Leave the connections open."""
