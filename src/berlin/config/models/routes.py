"""Builds composed providers from the tables `[models.NAME]`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from msgspec.structs import asdict

from berlin.config.models.checks import Route, find_route
from berlin.config.models.shared import open_counters
from berlin.config.models.tables import (
    BreakerConfig,
    CacheConfig,
    EntryConfig,
    LimitConfig,
    ModelConfig,
)
from berlin.config.providers import find_provider, offer_of
from berlin.config.schema import Config
from berlin.providers.contract import Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.balance import Balance
from berlin.routing.base.circuit import Circuit, Place, State
from berlin.routing.base.clock import Clock
from berlin.routing.base.limits import Limits
from berlin.routing.breaker import LONGEST_REST_S, Breaker
from berlin.routing.cache import AnswerStore, Cache, MemoryAnswers
from berlin.routing.counters.contract import Counters
from berlin.routing.fallback import Fallback
from berlin.routing.hedge import Hedge
from berlin.routing.hold import Hold
from berlin.routing.limit import Limit
from berlin.routing.model import Model
from berlin.routing.pool import LONGEST_QUARANTINE_S, Pool
from berlin.routing.retry import LONGEST_RETRY_AFTER_S, Retry
from berlin.routing.shared.answers import SharedAnswers
from berlin.routing.shared.circuit import SharedCircuit
from berlin.routing.shared.server import SharedRedis

LONGEST_WAIT_S = 2.0
"""The longest wait of an entry for a service that names a time, while another can answer."""

_T = TypeVar("_T")


class _ByName(Generic[_T]):
    """State by name: made once, and taken over from the routes before if its table is unchanged."""

    def __init__(self, before: _ByName[_T] | None) -> None:
        self._before = before._known if before is not None else {}
        self._known: dict[str, tuple[object, _T]] = {}

    def get(self, name: str, table: object, make: Callable[[], _T]) -> _T:
        """Return the state of a name."""
        if name not in self._known:
            old = self._before.get(name)
            kept = old is not None and old[0] == table
            self._known[name] = old if old is not None and kept else (table, make())
        return self._known[name][1]

    def items(self) -> Iterator[tuple[str, _T]]:
        """Yield the names and what they have."""
        for name, (_, state) in self._known.items():
            yield name, state


class Routes:
    """The models of a configuration, each built once; per-provider state is shared.

    Args:
        open_provider: returns a provider by its name, without retries of its own.
        shared: the Redis shared by all processes; by default each is on its own.
        counters: what counts for limits; by default Redis, or memory.
        clock: seconds on a monotonic clock.
        place: returns where the state of a provider's circuit is kept; by default in this process.
        before: the routes of the configuration that this one replaces: limits, circuits, cached
            answers and the conversations of pools go on.
    """

    def __init__(
        self,
        config: Config,
        open_provider: Callable[[str], Provider],
        shared: SharedRedis | None = None,
        counters: Counters | None = None,
        clock: Clock = time.monotonic,
        place: Callable[[str], Place] | None = None,
        before: Routes | None = None,
    ) -> None:
        self.shared = shared
        self.counters = counters or open_counters(config.shared, shared, clock)
        self.config = config
        self._open_provider = open_provider
        self._clock = clock
        self._place = place
        self._models: dict[str, ChatProvider] = {}
        self._circuits: _ByName[Circuit] = _ByName(before._circuits if before else None)
        self._limits: _ByName[Limits] = _ByName(before._limits if before else None)
        self._kept_answers: _ByName[AnswerStore] = _ByName(before._kept_answers if before else None)
        self._pools: dict[str, Pool] = {}
        self._pools_before = before._pools if before else {}

    @property
    def states(self) -> Mapping[str, State]:
        """The circuit state of each provider that the models opened so far may use."""
        return {name: circuit.state for name, circuit in self._circuits.items()}

    @property
    def waiting(self) -> Mapping[str, int]:
        """The number of requests waiting for the limits of each provider and model, by name."""
        return {key.partition(":")[2]: limits.waiting for key, limits in self._limits.items()}

    def open(self, name: str) -> ChatProvider:
        """Return a model by its name."""
        if name not in self._models:
            self._models[name] = self._build(name, self.config.models[name])
        return self._models[name]

    def keep(self, name: str, provider: ChatProvider) -> None:
        """Go on with a model of the routes before, which is the same in this configuration."""
        self._models[name] = provider
        if name in self._pools_before:
            self._pools[name] = self._pools_before[name]
        model = self.config.models[name]
        self._limits_of(f"model:{name}", model.limit)
        for provider_name in self.parts_of(name)[1]:
            self._circuit(provider_name, find_provider(provider_name, self.config).breaker)
            self.limits(provider_name)

    def parts_of(self, name: str) -> tuple[set[str], set[str]]:
        """Return the models that a model consists of, itself included, and their providers."""
        models, providers = {name}, set()
        for entry in self.config.models[name].entries:
            route = find_route(entry, self.config)
            if route.provider:
                providers.add(route.provider)
            else:
                more = self.parts_of(route.model)
                models |= more[0]
                providers |= more[1]
        return models, providers

    def limited(self, name: str, provider: Provider) -> Provider:
        """Return a provider wrapped in the limits of its table; unchanged if it has none."""
        limits = self.limits(name)
        return provider if limits is None else Limit(provider, limits)

    def limits(self, name: str) -> Limits | None:
        """Return the limits of a provider's table, if it has any."""
        return self._limits_of(f"provider:{name}", find_provider(name, self.config).limit)

    def _build(self, name: str, model: ModelConfig) -> ChatProvider:
        routes = [find_route(entry, self.config) for entry in model.entries]
        entries = [
            self.open(route.model) if not route.provider else self._entry(route, entry, model)
            for route, entry in zip(routes, model.entries, strict=True)
        ]
        provider = self._compose(name, model, routes, entries)
        limits = self._limits_of(f"model:{name}", model.limit)
        if limits is not None:
            provider = Limit(provider, limits)
        if model.hedge is not None:
            provider = Hedge(
                provider,
                after_s=model.hedge.after_s,
                budget_percent=model.hedge.budget_percent,
                clock=self._clock,
            )
        if model.cache is not None:
            provider = Cache(
                provider,
                self._answers(name, model.cache),
                tools_too=model.cache.tools_too,
                name=name,
            )
        return provider

    def _compose(
        self, name: str, model: ModelConfig, routes: list[Route], entries: list[ChatProvider]
    ) -> ChatProvider:
        filtered_too = model.content_filter == "fallback"
        match model.kind:
            case "fallback":
                return Fallback(
                    *entries,
                    break_after_text=model.break_after_text,
                    filtered_too=filtered_too,
                    clock=self._clock,
                )
            case "balance":
                return Balance(
                    *entries,
                    weights=[entry.weight for entry in model.entries],
                    by=model.by,
                    clock=self._clock,
                    break_after_text=model.break_after_text,
                    filtered_too=filtered_too,
                )
            case "pool":
                accounts = {r.provider: e for r, e in zip(routes, entries, strict=True)}
                pool = Pool(accounts, before=self._pools_before.get(name), clock=self._clock)
                provider: ChatProvider = pool
                self._pools[name] = pool
            case _:
                (provider,) = entries
        return Hold(provider) if model.break_after_text == "hold" else provider

    def _entry(self, route: Route, entry: EntryConfig, model: ModelConfig) -> ChatProvider:
        """Return one model of one provider, with the provider's shared state."""
        name = route.provider
        table = find_provider(name, self.config)
        # What a recipe does not say is unknown, not absent.
        described = offer_of(name, self.config).capabilities or None
        capabilities = described if entry.capabilities is None else entry.capabilities
        asked = Model(
            self._open_provider(name),
            name,
            route.model,
            capabilities=capabilities,
            context_tokens=entry.context_tokens,
            prefill=entry.prefill,
            first_event_s=model.first_event_s,
            idle_s=model.idle_s,
        )
        longest = LONGEST_QUARANTINE_S if model.kind == "pool" else LONGEST_REST_S
        circuit = self._circuit(name, table.breaker)
        guarded = Breaker(asked, circuit=circuit, longest_rest_s=longest)
        return Retry(
            self.limited(name, guarded),
            attempts=model.retry.attempts,
            longest_wait_s=_longest_wait_s(model, entry),
            clock=self._clock,
        )

    def _circuit(self, name: str, table: BreakerConfig) -> Circuit:
        def make() -> Circuit:
            limits = (table.failures, table.cool_down_s)
            if self.shared is not None:
                return SharedCircuit(name, self.shared, self._clock, *limits)
            return Circuit(self._clock, *limits, self._place(name) if self._place else None)

        return self._circuits.get(name, table, make)

    def _limits_of(self, key: str, table: LimitConfig | None) -> Limits | None:
        if table is None:
            return None

        def make() -> Limits:
            return Limits(self.counters, key, clock=self._clock, **asdict(table))

        return self._limits.get(key, table, make)

    def _answers(self, name: str, table: CacheConfig) -> AnswerStore:
        def make() -> AnswerStore:
            if self.shared is not None:
                return SharedAnswers(self.shared, table.keep_s)
            return MemoryAnswers(self._clock, table.keep_s, table.max_entries)

        return self._kept_answers.get(name, table, make)


def _longest_wait_s(model: ModelConfig, entry: EntryConfig) -> float:
    if model.retry.longest_wait_s is not None:
        return model.retry.longest_wait_s
    others = model.kind == "balance" or (model.kind == "fallback" and entry != model.entries[-1])
    return LONGEST_WAIT_S if others and len(model.entries) > 1 else LONGEST_RETRY_AFTER_S
