"""Builds a gateway from the configuration, and rebuilds it when the file has changed.

What a configuration does not use is not imported, which saves several megabytes of each process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from berlin.auth.credentials import NAMES
from berlin.config import (
    GUIDE,
    Config,
    LedgerConfig,
    ProviderConfig,
    ServerConfig,
    Settings,
    default_provider,
    find_provider,
    offer_of,
    open_tokens,
    provider_names,
    resolve_settings,
)
from berlin.config.models.shared import open_shared
from berlin.config.references import resolve_value
from berlin.config.tables.per_user import PLACEHOLDER, is_per_user
from berlin.errors import BerlinError
from berlin.gateway.access.admission import Admission
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.limits.history import History
from berlin.gateway.access.limits.open import open_limiter
from berlin.gateway.access.required import KeysRequired
from berlin.gateway.access.shared_keys.reader import PostgresKeys
from berlin.gateway.body import Bodies, BodyBudget
from berlin.gateway.catalog import WAIT_S, Catalog, Service
from berlin.gateway.chat import Gateway, Needed, Stores
from berlin.gateway.observe.visit import Observer
from berlin.gateway.routed import build_models
from berlin.gateway.stored.open import open_stored
from berlin.gateway.streaming import OpenStreams
from berlin.gateway.workers.worker import Worker
from berlin.opening import RecipeProvider, open_provider, open_users
from berlin.providers.facade import ChatProvider
from berlin.types import Secret

if TYPE_CHECKING:
    from berlin.gateway.observe.ledger import Ledger
    from berlin.gateway.observe.metrics import PrometheusMetrics

REFRESH_MODELS_S = 600.0
FACES = ("openai", "responses", "anthropic", "ollama", "berlin")

_log = logging.getLogger("berlin.gateway")


def build_gateway(
    config: Config,
    keys: Path | None,
    folder: Path | None = None,
    environ: Mapping[str, str] = {},
    worker: Worker | None = None,
) -> Gateway:
    """Return the gateway that a configuration describes.

    Args:
        config: the whole file.
        keys: the file of the API keys; `None` for a gateway without keys.
        folder: the folder of the configuration, where it is also recorded that keys are required.
        environ: the environment variables.
        worker: which of several workers this process is; `None` if it is the only one.

    Raises:
        ConfigurationError: if something in it is invalid.
    """
    server = config.server
    catalog = build_catalog(config, worker=worker)
    metrics = None
    if server.metrics is not False:
        metrics = _open_metrics(server.metrics, catalog, worker)
    ledger = None
    if config.ledger is not None:
        ledger = open_ledger(config, accounts_of(config, catalog), environ)
    guard = Guard(
        _open_keys(config, keys, folder, environ),
        server.allowed_hosts,
        server.cors_origins,
        server.trusted_proxies,
        worker=worker,
    )
    guard.use_issuers(config.issuers)
    return Gateway(
        catalog,
        guard,
        OpenStreams(
            server.keep_alive_s,
            server.write_timeout_s,
            comments=server.keep_alive == "comment",
            early=server.early_keep_alive,
        ),
        metrics,
        open_observers(server),
        Bodies(BodyBudget(server.client_body_bytes)),
        _needed_stores(config, environ),
        open_stored(config.responses),
        open_limiter(
            config,
            keys.parent if keys is not None else None,
            environ,
            alone=worker is None,
            history=History(ledger.sums) if ledger is not None else None,
        ),
        worker,
        ledger,
    )


def _needed_stores(config: Config, environ: Mapping[str, str]) -> Stores:
    """Return the stores without which requests are refused."""
    needed: dict[str, Needed] = {}
    tokens = open_tokens(config.tokens, environ)
    if tokens is not None and tokens.is_needed:
        needed["token store"] = tokens
    if config.shared.on_failure == "refuse":
        shared = open_shared(config.shared, environ)
        if shared is not None:
            from berlin.routing.counters.redis import RedisCounters

            needed["shared limits"] = RedisCounters(shared)
    return Stores(needed)


def _open_keys(
    config: Config, path: Path | None, folder: Path | None, environ: Mapping[str, str]
) -> PostgresKeys | KeyReader | None:
    url = resolve_value(config.keys.store, "keys.store", environ)
    if url is not None:
        return PostgresKeys(Secret(url))
    if path is None:
        return None
    notes = KeysRequired([path.parent, *([folder] if folder is not None else [])])
    return KeyReader(path, required=requires_keys(config.server), notes=notes)


def requires_keys(server: ServerConfig) -> bool:
    """Return whether the configuration requires keys, even if there has never been one."""
    # A proxy forwards requests from elsewhere.
    return server.require_keys or bool(server.trusted_proxies)


def open_observers(server: ServerConfig) -> list[Observer]:
    """Return the observers of finished requests, besides the metrics.

    Raises:
        ConfigurationError: if one cannot be opened.
    """
    observers: list[Observer] = []
    if server.tracing:
        from berlin.gateway.observe.telemetry import open_telemetry

        observers += open_telemetry()
    if server.access_log is not None:
        from berlin.gateway.observe.log import open_access_log

        observers.append(open_access_log(server.access_log))
    return observers


def open_ledger(config: Config, accounts: Mapping[str, str], environ: Mapping[str, str]) -> Ledger:
    """Return the configured ledger.

    Raises:
        ConfigurationError: if it cannot be used, or its database lacks migrations.
    """
    from berlin.gateway.observe.ledger import Ledger
    from berlin.ledger.open import open_recorder  # SQLAlchemy, only where there is a ledger
    from berlin.ledger.prices import Prices

    table = config.ledger or LedgerConfig()
    return Ledger(open_recorder(table, environ), Prices(config.prices), accounts, table.currency)


def accounts_of(config: Config, catalog: Catalog) -> dict[str, str]:
    """Return the account of each provider that has one; that of each user has a placeholder."""
    bare = {name: service.bare for name, service in catalog.services.items()}
    fixed = {
        name: provider.settings.credentials.who
        for name, provider in bare.items()
        if isinstance(provider, RecipeProvider) and provider.settings.credentials is not None
    }
    tables = config.providers.items()
    return fixed | {name: t.account or PLACEHOLDER for name, t in tables if is_per_user(t)}


def _open_metrics(
    wanted: bool | None, catalog: Catalog, worker: Worker | None
) -> PrometheusMetrics | None:
    from berlin.gateway.observe.metrics import open_metrics

    metrics = open_metrics(wanted, catalog.services, FACES, worker)
    if metrics is not None:
        watch_logins(catalog, metrics)
    return metrics


def watch_logins(catalog: Catalog, metrics: PrometheusMetrics) -> None:
    """Count the logins of all providers."""
    for service in catalog.services.values():
        if isinstance(service.bare, ChatProvider):
            service.bare.watch_logins(partial(metrics.end_login, service.name))


def build_catalog(
    config: Config, before: Catalog | None = None, worker: Worker | None = None
) -> Catalog:
    """Return the providers that a configuration names.

    Args:
        config: the whole file.
        before: the providers so far; unchanged ones keep their connections.
        worker: which of several workers this process is.

    Raises:
        ConfigurationError: if one cannot be built.
    """
    first = config.server.provider or default_provider(config) or GUIDE
    # A shipped recipe without its own table is served if an alias refers to it.
    meant = (name.partition(":")[0] for name in config.aliases.values())
    named = (name for name in meant if name in provider_names(config))
    names = dict.fromkeys((first, *config.providers, *named))
    known = before.services if before is not None else {}
    services = {
        name: _build_service(name, config, known.get(name), worker)
        for name in names
        if name not in config.models
    }
    models, routes, limited = build_models(config, services, before, worker)
    ordered = sorted({**services, **models}.values(), key=lambda service: service.name != first)
    catalog = Catalog(ordered, config.aliases, routes, limited)
    if before is None:
        catalog.activate()
    return catalog


def _build_service(
    name: str, config: Config, before: Service | None, worker: Worker | None
) -> Service:
    mine, offer = find_provider(name, config), offer_of(name, config)
    limits = (mine.at_once, mine.waiting)
    settings = resolve_settings(name, config) if mine.class_ is None else None
    key = (_identity(mine, settings), limits, mine.models)
    if before is not None and before.key == key:
        return before
    per_user = is_per_user(mine)
    provider = (
        open_users(name, config) if per_user else open_provider(name, config, settings=settings)
    )
    serves_callers = isinstance(provider, RecipeProvider) and provider.serves_callers
    return Service(
        name,
        provider,
        offer.models,
        offer.default,
        offer.aliases,
        any_model=offer.any_model,
        admission=Admission(*limits, WAIT_S, worker.slots(name) if worker is not None else None),
        # The list of a service may differ between users, so the recipe's is offered.
        fetch=provider.models if offer.lists and not (per_user or serves_callers) else None,
        capabilities=offer.capabilities,
        embedder=provider.embedder if isinstance(provider, RecipeProvider) else None,
        session_headers=config.conversations.session_headers if offer.keeps_conversations else None,
        key=key,
        serves_callers=serves_callers,
    )


def _identity(mine: ProviderConfig, settings: Settings | None) -> Hashable:
    """Return a value that differs between two providers of the same name."""
    if settings is None:
        return (mine.class_, repr(mine.options))
    # The recipe's text too: a changed recipe in the same file is a different provider.
    per_user = tuple(getattr(mine, field) for field in NAMES) if is_per_user(mine) else ()
    return (settings.key, repr(settings.recipe), per_user)


async def refresh_models(gateway: Gateway) -> None:
    """Fetch the lists of models from the services that have one; on failure the old list stays."""

    async def refresh(service: Service, fetch: Callable[[], Awaitable[Iterable[str]]]) -> None:
        try:
            service.learn(await fetch())
        except BerlinError as error:
            _log.warning("models.failed provider=%s error=%s", service.name, error.message)
        except Exception:
            _log.exception("models.failed provider=%s", service.name)

    services = gateway.catalog.services.values()
    await asyncio.gather(*(refresh(s, s.fetch) for s in services if s.fetch is not None))


async def refresh_models_forever(gateway: Gateway) -> None:
    """Keep the lists of models fresh; a failing service does not stop it."""
    while True:
        await refresh_models(gateway)
        await asyncio.sleep(REFRESH_MODELS_S)
