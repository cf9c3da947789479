"""Prices: patterns, dates, and the parts of a usage."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from berlin.config.schema import Config
from berlin.config.tables.prices import Price, check_prices, list_prices
from berlin.errors import ConfigurationError
from berlin.language.toml import parse_toml
from berlin.ledger.prices import Prices
from berlin.types import Usage

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def read(text: str) -> Prices:
    """Return the prices of a configuration file."""
    return Prices(parse_toml(text, "berlin.toml", Config).prices)


def of(price: str, **others: str) -> Price:
    """Return a price that is the same for input and output."""
    more = {name: Decimal(value) for name, value in others.items()}
    return Price(input=Decimal(price), output=Decimal(price), **more)


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(1_000_000, 0), "2.5"),
        (Usage(0, 1_000_000), "10"),
        (Usage(1_000_000, 0, cached_tokens=400_000), "2.0"),
        (Usage(1_000_000, 0, cached_tokens=400_000, cache_write_tokens=100_000), "2.1"),
        (Usage(0, 1_000_000, reasoning_tokens=500_000), "15"),
        (Usage(1, 0), "0.0000025"),
        (Usage(0, 0), "0"),
        # No part is more than the whole, and nothing is negative.
        (Usage(1_000_000, 0, cached_tokens=9_000_000, cache_write_tokens=9), "1.25"),
        (Usage(10**30, 0), "2500000"),
        (Usage(-5, -5, cached_tokens=-5, reasoning_tokens=-5), "0"),
    ],
)
def test_each_part_of_a_usage_has_its_price(usage: Usage, cost: str) -> None:
    """Input, output, cached, written and reasoning tokens are each counted once."""
    prices = read(
        '[prices."work:m"]\ninput = 2.5\noutput = 10\ncached = 1.25\ncache_write = 3.5\n'
        "reasoning = 20"
    )
    assert prices.cost("work", "m", usage, NOW) == Decimal(cost)


def test_parts_without_a_price_cost_as_much_as_the_whole() -> None:
    """Cached and written tokens cost as input, reasoning as output."""
    usage = Usage(100, 100, cached_tokens=50, cache_write_tokens=20, reasoning_tokens=30)
    assert Prices({"a:b": of("1")}).cost("a", "b", usage, NOW) == Decimal("0.0002")


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("work:gpt-4o", 1),
        ("WORK:GPT-4O", 1),
        ("work:gpt-4o-mini", 2),
        ("work:gpt-4o-2024", 3),
        ("work:other", 4),
        ("else:gpt-4o", 5),
        ("else:gpt.4o", None),
        ("else:qwen:7b", 6),
    ],
)
def test_the_most_specific_pattern_counts(model: str, price: int | None) -> None:
    """A name beats a pattern, and a longer pattern a shorter one; `*` alone is a wildcard."""
    patterns = {
        "work:*": of("4"),
        "work:gpt-4o*": of("3"),
        "*:gpt-4o": of("5"),
        "work:gpt-4o-mini": of("2"),
        "work:gpt-4o": of("1"),
        "*:qwen:*": of("6"),
    }
    provider, _, name = model.partition(":")
    found = Prices(patterns).price(provider, name, NOW)
    assert (None if found is None else found.input) == price


def test_list_prices() -> None:
    """A vendor's name stands for the list prices that ship; any price of one's own comes first."""
    prices = read('[prices]\n"work:*" = "anthropic"\n"work:claude-sonnet-*" = {input=1, output=2}')
    found = prices.price("work", "claude-opus-4-1", NOW)
    assert found is not None
    assert found.input > 1
    assert found.cached is not None
    own = prices.price("work", "claude-sonnet-4-5", NOW, 300_000)
    assert own is not None
    assert own.input == 1
    assert prices.price("work", "gpt-4o", NOW) is None
    assert prices.dearest(Usage(1, 1)) is not None


@pytest.mark.parametrize("vendor", sorted(list_prices()))
def test_every_list_price_is_a_price(vendor: str) -> None:
    """The file that ships has prices that a configuration could have, for each vendor."""
    assert list_prices()[vendor]
    check_prices({f"p:{name}": prices for name, prices in list_prices()[vendor].items()})


@pytest.mark.parametrize(
    ("day", "price"), [("2025-12-31", 3), ("2026-01-01", 2), ("2026-06-30", 2), ("2026-07-01", 1)]
)
def test_prices_change_by_date(day: str, price: int) -> None:
    """A price holds from midnight UTC of its day, in whatever order they are written."""
    prices = read(
        '[[prices."a:b"]]\nsince = 2026-07-01\ninput = 1\noutput = 1\n'
        '[[prices."a:b"]]\ninput = 3\noutput = 3\n'
        '[[prices."a:b"]]\nsince = 2026-01-01\ninput = 2\noutput = 2\n'
    )
    at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    found = prices.price("a", "b", at)
    assert found is not None
    assert found.input == price


@pytest.mark.parametrize(
    ("day", "tokens", "price"),
    [
        ("2026-01-01", 200_000, 1),
        ("2026-01-01", 200_001, 2),
        ("2026-01-01", 900_000, 3),
        ("2026-07-01", 900_000, 5),
    ],
)
def test_long_requests_may_have_a_price_of_their_own(day: str, tokens: int, price: int) -> None:
    """It counts for the whole request, until the day that has other prices."""
    prices = read(
        '[[prices."a:b"]]\ninput = 1\noutput = 1\n'
        '[[prices."a:b"]]\nover = 200_000\ninput = 2\noutput = 2\n'
        '[[prices."a:b"]]\nover = 500_000\ninput = 3\noutput = 3\n'
        '[[prices."a:b"]]\nsince = 2026-07-01\ninput = 5\noutput = 5\n'
    )
    at = datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()
    usage = Usage(tokens, 0)
    assert prices.cost("a", "b", usage, at) == Decimal(tokens * price) / 1_000_000


def test_what_has_no_price_has_no_cost() -> None:
    """An unknown model, or a time before the first price, costs `None`; a price of 0 costs 0."""
    since = Price(input=Decimal(1), output=Decimal(1), since=date(2027, 1, 1))
    prices = Prices({"a:later": since, "a:free": of("0")})
    assert prices.cost("a", "unknown", Usage(1, 1), NOW) is None
    assert prices.cost("a", "later", Usage(1, 1), NOW) is None
    assert prices.cost("a", "free", Usage(1, 1), NOW) == 0
    assert Prices().cost("a", "b", Usage(1, 1), NOW) is None


def test_money_is_exact() -> None:
    """A price is the number that was written, not the nearest binary fraction."""
    prices = read('[prices."a:b"]\ninput = 0.1\noutput = "0.3"')
    assert prices.cost("a", "b", Usage(3_000_000, 1_000_000), NOW) == Decimal("0.6")
    # Rounded to nine places, half to even.
    assert str(prices.cost("a", "b", Usage(1, 0), NOW)) == "1.00E-7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[prices."gpt-4o"]\ninput = 1\noutput = 1', "`gpt-4o:*`"),
        ('[prices."a:"]\ninput = 1\noutput = 1', "provider:model"),
        ('[prices]\n"a:*" = "nobody"', "there are those of anthropic"),
        ('[prices]\n"a:b" = "openai"', "write `a:*`"),
        ('[prices."a:b"]\ninput = -1\noutput = 1', "0 or more"),
        ('[prices."a:b"]\ninput = nan\noutput = 1', "0 or more"),
        ('[prices."a:b"]\ninput = inf\noutput = 1', "0 or more"),
        ('[prices."a:b"]\ninput = 1e30\noutput = 1', "0 or more"),
        ('[prices."a:b"]\ninput = true\noutput = 1', "decimal"),
        ('[prices."a:b"]\ninput = 1', "output"),
        ('[prices."a:b"]\ninput = 1\noutptu = 1', "did you mean 'output'"),
        ('[[prices."a:b"]]\ninput = 1\noutptu = 1', "did you mean 'output'"),
        ('[[prices."a:b"]]\ninput = 1\noutput = 1\nsince = "tomorrow"', "date"),
        ('[prices."a:b"]\ninput = 1\noutput = 1\nover = 5', "without over"),
        ('[prices."a:b"]\ninput = 1\noutput = 1\nover = -5', "number of tokens"),
        ('[[prices."a:b"]]\ninput = 1\noutput = 1\n' * 2, "same since"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    """A mistake in `[prices]` is a configuration error that says what is wrong."""
    with pytest.raises(ConfigurationError, match=r"berlin\.toml") as caught:
        read(text)
    assert said in str(caught.value)
