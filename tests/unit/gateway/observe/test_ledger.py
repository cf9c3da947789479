"""The row of a visit: which tokens it has, at which price, and how many attempts it took."""

from __future__ import annotations

from decimal import Decimal

import pytest

from berlin.config.tables.prices import Price
from berlin.errors import BerlinError, FailedAttempt, ServiceError
from berlin.gateway.observe.ledger import Ledger
from berlin.gateway.observe.visit import Visit
from berlin.ledger.entry import Entry
from berlin.ledger.prices import Prices
from berlin.types import (
    ChatRequest,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)

ONE = Prices({"*:*": Price(input=Decimal(1), output=Decimal(1))})
REQUEST = ChatRequest.of("x" * 40, user="ann")


class Kept:
    """Keeps rows instead of writing them."""

    def __init__(self) -> None:
        self.begun: list[Entry] = []
        self.ended: list[Entry] = []

    def begin(self, entry: Entry) -> None:
        self.begun.append(entry)

    def end(self, entry: Entry) -> None:
        self.ended.append(entry)


def ledger(prices: Prices = ONE) -> tuple[Ledger, Kept]:
    """Return a ledger, and where its rows are."""
    kept = Kept()
    return Ledger(kept, prices, {"s": "me"}, clock=lambda: 1.5), kept


def visit(**attributes: object) -> Visit:
    """Return a visit of a chat with the provider `s`."""
    one = Visit("POST", "/v1/chat/completions", "", {})
    one.face, one.provider, one.model, one.status = "openai", "s", "s:m", 200
    for name, value in attributes.items():
        setattr(one, name, value)
    return one


def row_of(*bursts: object, prices: Prices = ONE, **attributes: object) -> Entry:
    """Return the row of a chat with these bursts."""
    one, kept = ledger(prices)
    seen = visit()
    one.begin(seen, "m", REQUEST)
    for burst in bursts:
        seen.note(burst)
    for name, value in attributes.items():
        setattr(seen, name, value)
    one.ended(seen)
    (begun,), (ended,) = kept.begun, kept.ended
    assert begun.is_open
    assert (begun.id, begun.at_us) == (ended.id, ended.at_us) == (seen.id, 1_500_000)
    return ended


def test_every_kind_of_text_is_estimated() -> None:
    """Text, reasoning and tool calls count; a row with an estimate is marked."""
    pieces = [TextDelta("a" * 8), ReasoningDelta("b" * 8), ToolCallDelta(0, "id", "get", "{...}")]
    row = row_of(pieces, [Finished()])
    assert (row.input_tokens, row.output_tokens, row.estimated) == (10, 6, True)
    assert (row.cached_tokens, row.reasoning_tokens, row.user) == (None, None, "ann")


def test_a_reported_zero_is_not_missing() -> None:
    """What a service reports is taken, 0 too; nothing is estimated."""
    usage = Usage(0, 0, cached_tokens=0)
    row = row_of([TextDelta("Hello")], [UsageReport(usage), Finished()])
    assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (0, 0, 0)
    assert (row.cache_write_tokens, row.reasoning_tokens) == (None, None)
    assert (row.estimated, row.cost_nanos) == (False, 0)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (Usage(0, 7, lacks="input_tokens"), (10, 7)),
        (Usage(7, 0, lacks="output_tokens"), (7, 2)),
    ],
)
def test_a_half_of_a_report_is_estimated(usage: Usage, tokens: tuple[int, int]) -> None:
    """What a service leaves out of its report is estimated, and the row is marked."""
    row = row_of([TextDelta("Hello")], [UsageReport(usage), Finished()])
    assert (row.input_tokens, row.output_tokens, row.estimated) == (*tokens, True)


def test_an_early_report_does_not_hide_what_came_later() -> None:
    """Some services report the prompt first: a client that leaves still has its answer counted."""
    row = row_of([UsageReport(Usage(7, 1))], [TextDelta("x" * 400)], left=True)
    assert (row.input_tokens, row.output_tokens, row.estimated) == (7, 100, True)
    assert row.outcome == "client_left"


@pytest.mark.parametrize("error", [ServiceError("no"), BerlinError("no")])
def test_a_failure_before_the_first_event_is_unknown(error: BerlinError) -> None:
    """Neither tokens nor cost are guessed."""
    row = row_of(error=error, status=502)
    assert (row.input_tokens, row.output_tokens, row.cost_nanos) == (None, None, None)
    assert row.outcome == error.code


def test_the_provider_that_answered_is_charged() -> None:
    """Its name, its model and its price; and every request that was sent is an attempt."""
    prices = Prices({"other:big": Price(input=Decimal(3), output=Decimal(3))})
    failed = FailedAttempt("s", "m", "server_error", 0.0, 1.0)
    started = Started("other", "big", attempts=2, failed=(failed,))
    row = row_of([started, UsageReport(Usage(1_000_000, 0)), Finished()], prices=prices)
    assert (row.provider, row.model, row.attempts, row.account) == ("other", "big", 2, "")
    assert row.cost_nanos == 3 * 10**9


def test_an_answer_from_the_cache_is_free() -> None:
    """It was paid for when it was first given."""
    row = row_of([Started("s", "m", 0, age_s=5.0), UsageReport(Usage(9, 9)), Finished()])
    assert (row.attempts, row.input_tokens, row.cost_nanos) == (0, 9, 0)


def test_prices_and_accounts_can_be_replaced() -> None:
    """A changed configuration counts from the next request that ends."""
    one, kept = ledger(Prices())
    for prices in (Prices(), ONE):
        one.use(prices, {"s": "you"})
        seen = visit()
        one.begin(seen, "m", REQUEST)
        seen.note([TextDelta("x"), Finished()])
        one.ended(seen)
    assert [row.cost_nanos for row in kept.ended] == [None, 11_000]
    assert kept.ended[0].account == "you"


def test_the_account_of_each_user() -> None:
    """Where each user has a login of their own, the row has it, and the user of the key."""
    one, kept = ledger()
    one.use(ONE, {"s": "{key.user}@example.com"})
    seen = visit(user="bob")
    one.begin(seen, "m", REQUEST)
    one.ended(seen)
    assert (kept.ended[0].account, kept.ended[0].user) == ("bob@example.com", "bob")


def test_a_visit_that_asked_nobody_has_no_row() -> None:
    """A wrong key, or an unknown model."""
    one, kept = ledger()
    one.ended(visit(status=401))
    assert kept.ended == []


def test_counts_that_nothing_can_mean_are_unknown() -> None:
    """A service that reports nonsense does not break the ledger."""
    row = row_of([UsageReport(Usage(-1, 10**30, cached_tokens=5)), Finished()])
    assert (row.input_tokens, row.output_tokens, row.cached_tokens) == (None, None, 5)
    assert row.cost_nanos == 10**15  # as if it were the most that can be meant
