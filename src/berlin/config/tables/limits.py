"""The table `[limits]`: how much each key, user and model may use."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from berlin.config.tables.base import Percent

Unit: TypeAlias = Literal["requests", "tokens", "money"]
Per: TypeAlias = Literal["minute", "hour", "day", "month"]

MONEY_PLACES = 9
"""Money is counted in whole billionths of its currency."""

_RULE = re.compile(
    r"(?P<amount>[0-9][0-9_,]*(?:\.[0-9]+)?)\s*(?P<unit>requests?|tokens?|[A-Z]{3})"
    r"\s*(?:/|\bper\b)\s*(?P<per>minute|hour|day|month)(?:\s+on\s+(?P<model>\S+:\S+))?"
)
_MOST = 10**15


class Rule(msgspec.Struct, frozen=True):
    """One limit.

    Attributes:
        text: as it was written.
        amount: the most that may be used: requests, tokens, or billionths of money.
        unit: what is counted.
        per: the time for which it holds. A minute and an hour are the last 60 or 3600 seconds; a
            day and a month are those of the calendar.
        model: the only model that counts, `provider:model` or `provider:*`; `""` for all together.
    """

    text: str
    amount: int
    unit: Unit
    per: Per
    model: str = ""

    def applies(self, model: str) -> bool:
        """Return whether a model counts, as `provider:model`."""
        if not self.model:
            return True
        asked = model.casefold()
        return self.model in (asked, asked.partition(":")[0] + ":*")


@lru_cache(maxsize=1024)
def parse_rule(text: str) -> Rule:
    """Return the limit that a text such as `10 USD/month` or `90000 tokens/minute` describes.

    Raises:
        ValueError: if it describes none.
    """
    found = _RULE.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f"{text!r} is not a limit: write AMOUNT UNIT/TIME, such as '60 requests/minute', "
            "'90000 tokens/minute', '5 USD/day' or '100 USD/month on openai:gpt-5' (times: minute, "
            "hour, day, month)"
        )
    unit = found["unit"]
    kind: Unit = "money"
    if unit.startswith(("request", "token")):
        kind = "requests" if unit.startswith("request") else "tokens"
    try:
        amount = Decimal(found["amount"].replace("_", "").replace(",", ""))
    except InvalidOperation:
        amount = Decimal(0)
    scaled = amount.scaleb(MONEY_PLACES) if kind == "money" else amount
    if scaled != int(scaled) or not 1 <= scaled <= _MOST:
        raise ValueError(f"{text!r}: the amount must be a number from 1 that can be counted")
    per: Per = found["per"]  # type: ignore[assignment]  # the pattern allows no other
    return Rule(text.strip(), int(scaled), kind, per, (found["model"] or "").casefold())


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[limits]`. A limit is written `AMOUNT UNIT/TIME`, such as `5 USD/day`.

    Attributes:
        time_zone: the time zone in which days and months begin.
        warn_percent: from which share of a limit on a response header warns.
        keys: what each key may use, besides its own limits.
        users: what each user may use, by name; `*` is each user that is not named.
        models: what all clients together may use of a model, by `provider:model` or `provider:*`.
    """

    time_zone: str = "UTC"
    warn_percent: Percent = 80.0
    keys: tuple[str, ...] = ()
    users: dict[str, tuple[str, ...]] = {}
    models: dict[str, tuple[str, ...]] = {}

    def __post_init__(self) -> None:
        from berlin.routing.counters.calendar import zone_of

        zone_of(self.time_zone)
        for text in (*self.keys, *_all(self.users), *_all(self.models)):
            parse_rule(text)
        for name in self.models:
            provider, _, model = name.partition(":")
            if not (provider and model):
                raise ValueError(f"limits.models: {name!r} is not `provider:model` or `provider:*`")


def _all(limits: dict[str, tuple[str, ...]]) -> list[str]:
    return [text for several in limits.values() for text in several]
