"""Builds composed providers from the tables `[models.NAME]`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

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
from berlin.routing.base.circuit import Circuit, LocalCircuit, State
from berlin.routing.base.clock import Clock
from berlin.routing.base.gate import Gate
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
from berlin.routing.retry import Retry
from berlin.routing.shared.answers import SharedAnswers
from berlin.routing.shared.circuit import SharedCircuit
from berlin.routing.shared.server import SharedRedis


class Routes:
    """The models of a configuration, each built once; per-provider state is shared.

    Args:
        config: the configuration.
        open_provider: returns a provider by its name, without retries of its own.
        shared: the Redis shared by all processes; by default each is on its own.
        counters: what counts for limits; by default Redis, or memory.
        clock: seconds on a monotonic clock.
    """

    def __init__(
        self,
        config: Config,
        open_provider: Callable[[str], Provider],
        shared: SharedRedis | None = None,
        counters: Counters | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._shared = shared
        self._counters = counters or open_counters(config.shared, shared, clock)
        self._config = config
        self._open_provider = open_provider
        self._clock = clock
        self._models: dict[str, ChatProvider] = {}
        self._circuits: dict[str, Circuit] = {}
        self._limits: dict[str, Limits] = {}

    @property
    def states(self) -> Mapping[str, State]:
        """The circuit state of each provider that the models opened so far may use."""
        return {name: circuit.state for name, circuit in self._circuits.items()}

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many requests wait for the limits of each provider and model, by its name."""
        return {key.partition(":")[2]: len(limits.line) for key, limits in self._limits.items()}

    def open(self, name: str) -> ChatProvider:
        """Return a model by its name."""
        if name not in self._models:
            self._models[name] = self._build(name, self._config.models[name])
        return self._models[name]

    def limited(self, name: str, provider: Provider) -> Provider:
        """Return a provider wrapped in the limits of its table; unchanged if it has none."""
        limits = self.limits(name)
        return provider if limits is None else Limit(provider, limits)

    def limits(self, name: str) -> Limits | None:
        """Return the limits of a provider's table, if it has any."""
        return self._limits_of(f"provider:{name}", find_provider(name, self._config).limit)

    def _build(self, name: str, model: ModelConfig) -> ChatProvider:
        routes = [find_route(entry, self._config) for entry in model.entries]
        entries = [
            self.open(route.model) if not route.provider else self._entry(route, entry, model)
            for route, entry in zip(routes, model.entries, strict=True)
        ]
        provider = self._compose(model, routes, entries)
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
                self._answers(model.cache),
                tools_too=model.cache.tools_too,
                name=name,
            )
        return provider

    def _compose(
        self, model: ModelConfig, routes: list[Route], entries: list[ChatProvider]
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
                provider: ChatProvider = Pool(accounts, clock=self._clock)
            case _:
                (provider,) = entries
        return Hold(provider) if model.break_after_text == "hold" else provider

    def _entry(self, route: Route, entry: EntryConfig, model: ModelConfig) -> ChatProvider:
        """Return one model of one provider, with the provider's shared state."""
        name = route.provider
        table = find_provider(name, self._config)
        # What a recipe does not say is unknown, not absent.
        described = offer_of(name, self._config).capabilities or None
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
            longest_wait_s=model.retry.longest_wait_s,
            clock=self._clock,
        )

    def _circuit(self, name: str, table: BreakerConfig) -> Circuit:
        if name not in self._circuits:
            limits = (table.failures, table.cool_down_s)
            self._circuits[name] = (
                LocalCircuit(self._clock, *limits)
                if self._shared is None
                else SharedCircuit(name, self._shared, self._clock, *limits)
            )
        return self._circuits[name]

    def _limits_of(self, key: str, table: LimitConfig | None) -> Limits | None:
        if table is not None and key not in self._limits:
            self._limits[key] = Limits(
                self._gate(key, table),
                counts_tokens=table.tokens_per_minute is not None,
                wait_s=table.wait_s,
                waiting=table.waiting,
                clock=self._clock,
            )
        return self._limits.get(key)

    def _gate(self, key: str, table: LimitConfig) -> Gate:
        numbers = (table.concurrent, table.requests_per_minute, table.tokens_per_minute)
        return Gate(self._counters, key, *numbers)

    def _answers(self, table: CacheConfig) -> AnswerStore:
        if self._shared is not None:
            return SharedAnswers(self._shared, table.keep_s)
        return MemoryAnswers(self._clock, table.keep_s, table.max_entries)
