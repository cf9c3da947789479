"""The tables `[models.NAME]`: models composed of the models of several providers."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from berlin.config.tables.base import Count, CountFromZero, NotNegative, Percent, Positive
from berlin.recipes.recipe import Capability


class RetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The retries of requests to each provider.

    Attributes:
        attempts: maximum number of attempts; 1 disables retries.
        longest_wait_s: the longest `Retry-After` that is waited for; by default short where another
            model can answer meanwhile.
    """

    attempts: Count = 3
    longest_wait_s: NotNegative | None = None


class LimitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits on requests and tokens.

    Attributes:
        concurrent: concurrent requests.
        requests_per_minute: requests in any 60 seconds.
        tokens_per_minute: tokens in any 60 seconds.
        wait_s: the longest time a request waits, in seconds.
        waiting: the most requests that wait; further ones are refused.
    """

    concurrent: Count | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    wait_s: NotNegative = 30.0
    waiting: CountFromZero = 256

    def __post_init__(self) -> None:
        limits = (self.concurrent, self.requests_per_minute, self.tokens_per_minute)
        if all(limit is None for limit in limits):
            raise ValueError("set concurrent, requests_per_minute or tokens_per_minute")


class BreakerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions for skipping a provider after failures.

    Attributes:
        failures: consecutive failures that open the circuit.
        cool_down_s: seconds until it is probed.
    """

    failures: Count = 5
    cool_down_s: Positive = 10.0


class HedgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions for a second, hedged request.

    Attributes:
        after_s: seconds to wait for the first event; by default learned (the 95th percentile).
        budget_percent: the percentage of requests that may be sent twice.
    """

    after_s: Positive | None = None
    budget_percent: Percent = 5.0


class CacheConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cache of answers.

    Attributes:
        keep_s: seconds that an answer stays valid.
        max_entries: the most entries kept in this process.
        tools_too: whether requests with tools are answered from the cache too.
    """

    keep_s: Positive = 3600.0
    max_entries: Count = 1000
    tools_too: bool = False


class EntryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the models that a model is composed of, and what is known about it.

    Attributes:
        model: `provider`, `provider:model`, or the name of another table `[models.…]`.
        weight: its share, for `balance`.
        context_tokens: the size of its context window in tokens.
        prefill: whether it continues an answer that was started (prefill).
        capabilities: what it can do besides text, instead of what its recipe says.
    """

    model: str
    weight: Positive = 1.0
    context_tokens: Count | None = None
    prefill: bool | None = None
    capabilities: tuple[Capability, ...] | None = None


Entries: TypeAlias = tuple[str | EntryConfig, ...]


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table `[models.NAME]`. Exactly one of the first four keys names its parts.

    Attributes:
        use: one model.
        fallback: models tried in this order until one answers.
        balance: models among which requests are distributed.
        pool: providers that are accounts of one service; each conversation stays with one of them.
        by: the strategy of `balance`.
        retry: the retries of each.
        limit: the limits on all of them together.
        hedge: a second request when the first is slow.
        cache: cached answers.
        first_event_s: seconds to wait for the first event before the next model is tried.
        idle_s: seconds between two events; a longer silence counts as a broken stream.
        break_after_text: what to do when an answer breaks off after text was shown: `error`;
            `continue`, the next model continues where it broke off; `hold`, nothing is shown until
            the answer is complete.
        content_filter: what to do when a content filter refuses: return the error, or try the next
            model.
    """

    use: str | EntryConfig | None = None
    fallback: Entries | None = None
    balance: Entries | None = None
    pool: Entries | None = None
    by: Literal["latency", "busy", "weight"] = "latency"
    retry: RetryConfig = RetryConfig()
    limit: LimitConfig | None = None
    hedge: HedgeConfig | None = None
    cache: CacheConfig | None = None
    first_event_s: Positive | None = None
    idle_s: Positive | None = None
    break_after_text: Literal["error", "continue", "hold"] = "error"
    content_filter: Literal["error", "fallback"] = "error"

    def __post_init__(self) -> None:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) if given else "none"
            raise ValueError(f"one of {', '.join(_KINDS)} must be given, not {said}")
        if not self.entries:
            raise ValueError(f"{self.kind} is empty; name at least one model")
        self._check_combination()

    @property
    def kind(self) -> str:
        """`use`, `fallback`, `balance` or `pool`."""
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def entries(self) -> tuple[EntryConfig, ...]:
        """The models that it is composed of."""
        given = getattr(self, self.kind)
        several = given if isinstance(given, tuple) else (given,)
        return tuple(EntryConfig(one) if isinstance(one, str) else one for one in several)

    def _check_combination(self) -> None:
        several = self.kind in ("fallback", "balance")
        if self.break_after_text == "continue":
            if not several:
                raise ValueError('break_after_text = "continue" needs fallback or balance')
            # The first of a fallback has nobody before it to continue.
            nexts = self.entries[1:] if self.kind == "fallback" else self.entries
            if not any(entry.prefill for entry in nexts):
                raise ValueError(
                    'break_after_text = "continue" needs an entry after the first that can '
                    "continue an answer: { model = …, prefill = true }"
                )
        if self.content_filter == "fallback" and not several:
            raise ValueError('content_filter = "fallback" needs fallback or balance')
        if self.hedge is not None and self.kind == "pool":
            raise ValueError("hedge would use a second account of the pool for one request")
        if self.kind != "balance":
            if self.by != "latency":
                raise ValueError("by is only for balance")
            if any(entry.weight != 1.0 for entry in self.entries):
                raise ValueError("weight is only for balance")


_KINDS = ("use", "fallback", "balance", "pool")
