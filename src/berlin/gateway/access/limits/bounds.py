"""Which limits hold for a request: those of its key, its user and its model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from berlin.config.tables.limits import LimitsConfig, Rule, parse_rule
from berlin.gateway.access.caller import Caller
from berlin.routing.counters.contract import Calendar, Sliding, Window


class Bound(msgspec.Struct, frozen=True):
    """A limit that holds for a request.

    Attributes:
        rule: the limit.
        owner: whose limit it is, as the client reads it.
        subject: the same as `key:ID`, `user:NAME` or `model:PROVIDER:MODEL`.
        counter: the counter's name.
        window: what it counts.
    """

    rule: Rule
    owner: str
    subject: str
    counter: str
    window: Window

    @property
    def lasts(self) -> bool:
        """Whether it must outlive a restart of the gateway."""
        return isinstance(self.window, Calendar)


def bounds_of(config: LimitsConfig, caller: Caller | None, model: str) -> tuple[Bound, ...]:
    """Return the limits that hold for a caller's request for a model.

    Of several that count the same, such as those of the key and of all keys, it is the smallest: a
    request would be counted once for each.

    Args:
        config: the limits of the configuration.
        caller: the caller; `None` where no key is needed.
        model: `provider:model`.
    """
    zone = config.time_zone
    found: list[Bound] = []
    if caller is not None:
        rules = [*_rules(caller.limits), *_rules(config.keys)]
        if caller.requests_per_minute is not None:
            text = f"{caller.requests_per_minute} requests/minute"
            rules.append(Rule(text, caller.requests_per_minute, "requests", "minute"))
        found += _bounds(rules, "this key", f"key:{caller.id}", model, zone)
        if caller.user:
            texts = config.users.get(caller.user, config.users.get("*", ()))
            owner = f"the user {caller.user}"
            found += _bounds(_rules(texts), owner, f"user:{caller.user}", model, zone)
    for name, texts in config.models.items():
        if covers(name, model):
            found += _bounds(_rules(texts), name, f"model:{name.casefold()}", model, zone)
    smallest: dict[str, Bound] = {}
    for bound in found:
        known = smallest.setdefault(bound.counter, bound)
        if bound.rule.amount < known.rule.amount:
            smallest[bound.counter] = bound
    return tuple(smallest.values())


def covers(pattern: str, model: str) -> bool:
    """Return whether `provider:model` or `provider:*` means a model."""
    return Rule("", 0, "requests", "minute", pattern.casefold()).applies(model)


def _rules(texts: Iterable[str]) -> Iterator[Rule]:
    return map(parse_rule, texts)


def _bounds(
    rules: Iterable[Rule], owner: str, subject: str, model: str, zone: str
) -> Iterator[Bound]:
    for rule in rules:
        if rule.applies(model):
            counter = f"{subject}|{rule.unit}/{rule.per}|{rule.model}"
            yield Bound(rule, owner, subject, counter, _window(rule, zone))


def _window(rule: Rule, zone: str) -> Window:
    match rule.per:
        case "minute":
            return Sliding(60.0)
        case "hour":
            return Sliding(3600.0)
        case "day" | "month":
            return Calendar(rule.per, zone)
