"""The gateway's part of the ledger: makes the row of each request that a provider is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from berlin.config.tables.per_user import PLACEHOLDER
from berlin.formats.tokens import prompt_tokens
from berlin.gateway.observe.visit import Asked, Visit, milliseconds
from berlin.ledger.entry import MAX_NAME_CHARS, Entry, counts_of, name_of
from berlin.ledger.figures import Figures, Query
from berlin.ledger.prices import PLACES, Prices, cost_at
from berlin.ledger.recorder import Recorder
from berlin.ledger.writer import LedgerCounts
from berlin.types import ChatRequest, Usage
from berlin.types.embeddings import EmbeddingRequest
from berlin.types.usage import usage_with

_MAX_NAMED = 1024


class Ledger:
    """Records each request before it is sent to a provider, and again when it has ended.

    Args:
        recorder: writes the rows.
        prices: what models cost.
        accounts: the account of each provider, by the provider's name.
        currency: the currency of the prices.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        recorder: Recorder,
        prices: Prices,
        accounts: Mapping[str, str],
        currency: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.currency = currency
        self._recorder = recorder
        self._clock = clock
        self.use(prices, accounts)

    def use(self, prices: Prices, accounts: Mapping[str, str]) -> None:
        """Replace prices and accounts, after a change of the configuration."""
        self._prices = prices
        self._accounts = accounts
        self._named = lru_cache(_MAX_NAMED)(self._name)

    @property
    def problem(self) -> str:
        """Why requests are refused at present; `""` if they are not."""
        return self._recorder.problem

    @property
    def counts(self) -> LedgerCounts:
        """Its counts since the start."""
        return self._recorder.counts

    def begin(self, visit: Visit, model: str, request: ChatRequest | EmbeddingRequest) -> None:
        """Record that a provider is about to be asked.

        Args:
            visit: the visit, which names the provider.
            model: the provider's own name of the model.
            request: the request, for an estimate of its tokens.

        Raises:
            UnavailableError: if it cannot be recorded, and such requests are refused.
        """
        at = self._clock()
        most = MAX_NAME_CHARS
        user = visit.user or _user(request)[:most]
        key, asked, model = visit.key, visit.model[:most], model[:most]
        entry = msgspec.structs.replace(
            self._named(key, user, visit.user, visit.provider, asked, model),
            id=visit.id,
            at_us=int(at * 1_000_000),
            face=visit.face,
            stream=visit.stream,
        )
        self._recorder.begin(entry)
        visit.asked = Asked(at, model, request, entry)
        visit.measure()

    def ended(self, visit: Visit) -> None:
        """Record a finished visit; see `Observer`."""
        asked = visit.asked
        if asked is None:
            return
        entry, model, outcome = asked.entry, asked.model, visit.outcome
        provider, started = visit.provider, visit.started
        if started is not None and (started.provider or started.model):
            model = started.model or model
            provider = started.provider or provider
            entry = msgspec.structs.replace(
                entry,
                provider=name_of(provider),
                account=self._account(provider, visit.user),
                model=name_of(model),
            )
        usage = usage_of(visit, asked, outcome)
        cost = input_tokens = output_tokens = cached = cache_write = reasoning = None
        if usage is not None:
            if started is not None and started.age_s is not None:
                cost = 0  # from Berlin's own cache
            elif (
                price := self._prices.price(provider, model, asked.at, usage.input_tokens)
            ) is not None:
                cost = int(cost_at(price, usage).scaleb(PLACES))
            cost, input_tokens, output_tokens, cached, cache_write, reasoning = counts_of(
                cost,
                usage.input_tokens,
                usage.output_tokens,
                usage.cached_tokens,
                usage.cache_write_tokens,
                usage.reasoning_tokens,
            )
        first = visit.first_event_at
        attempts = visit.attempts
        # Only providers with several attempts say how many; an answer has at least one.
        if attempts is None and (first or outcome == "ok" or visit.upstream_failure):
            attempts = 1
        row = msgspec.structs.replace(
            entry,
            attempts=attempts,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_tokens=cached,
            cache_write_tokens=cache_write,
            reasoning_tokens=reasoning,
            estimated=usage is not None and usage.estimated,
            cost_nanos=cost,
            status=visit.status,
            outcome=outcome,
            first_event_ms=None if first is None else milliseconds(first - visit.began_at),
            duration_ms=milliseconds(visit.seconds),
        )
        self._recorder.end(row)

    async def sums(self, query: Query) -> list[Figures]:
        """Sum up requests. Raises UnavailableError if the database is away."""
        return await self._recorder.sums(query)

    def close(self) -> None:
        """Deliver the rest, in bounded time."""
        self._recorder.close()

    def _name(
        self, key: str, user: str, owner: str, provider: str, model_asked: str, model: str
    ) -> Entry:
        """Return what many rows have in common."""
        return Entry(
            id="",
            at_us=0,
            key=name_of(key),
            user=name_of(user),
            provider=name_of(provider),
            account=self._account(provider, owner),
            model_asked=name_of(model_asked),
            model=name_of(model),
        )

    def _account(self, provider: str, user: str) -> str:
        return name_of(self._accounts.get(provider, "").replace(PLACEHOLDER, user))


def usage_of(visit: Visit, asked: Asked, outcome: str) -> Usage | None:
    """Return the tokens of a request: as reported, or else estimated, or `None` if unknown.

    What a client that left has caused so far is estimated, because a service reports at the end. A
    request that failed before its first event has unknown tokens: few services charge for those.
    """
    reported, whole = visit.usage, outcome == "ok"
    if whole and reported is not None and reported.lacks is None:
        return reported
    if visit.first_event_at is None and not visit.left and not whole:
        return reported
    sent = asked.request
    estimate = prompt_tokens(sent) if isinstance(sent, ChatRequest) else sent.input_tokens
    return usage_with(reported, estimate, visit.text_chars, whole=whole)


def _user(request: ChatRequest | EmbeddingRequest) -> str:
    user = request.options.get("user") if isinstance(request, ChatRequest) else None
    return user if isinstance(user, str) else ""
