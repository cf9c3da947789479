"""The comparison after the attack: one line for each invariant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise

import msgspec

from fleet.clients import Outcome
from fleet.host import Host
from fleet.service import LIFETIME_S, Seen

# A cut stream belongs to a worker that was killed this long before, or less.
NEAR_S = 3.0
# What a worker may hold more after the attack than before it.
DESCRIPTORS = 12
MEMORY_KIB = 48 * 1024
# A store that failed is left alone for this long at most.
RESTS_S = 3.0
# A line of the log, or a login, is seen here so much later at most.
LATE_S = 1.0
WINDOW_S = 60.0
ANSWERED = (200, 429, 503)


class Row(msgspec.Struct, frozen=True):
    """A row of the ledger."""

    id: str
    outcome: str
    attempts: int
    key: str
    tokens: int


class Evidence(msgspec.Struct):
    """Everything that was seen.

    Attributes:
        outcomes: by the clients.
        seen: by the service.
        rows: of the ledger.
        logins: when tokens were issued.
        outages: when Redis was away, from and to.
        hosts: the hosts.
        sizes_before: descriptors and memory of the workers, after the warm-up.
        sizes_after: the same, at the end.
        scrapes: the sums of the counter of requests, by host, one scrape after the other.
        codes: exit codes of the hosts.
        began_at: when the run began, on the monotonic clock.
        rates: the requests a minute of the keys that have a limit.
        budgets: the tokens of the keys that have a budget.
    """

    outcomes: list[Outcome] = []
    seen: list[Seen] = []
    rows: list[Row] = []
    logins: list[float] = []
    outages: list[tuple[float, float]] = []
    hosts: list[Host] = []
    sizes_before: list[tuple[int, int]] = []
    sizes_after: list[tuple[int, int]] = []
    scrapes: dict[int, list[float]] = {}
    codes: list[int | None] = []
    rates: dict[str, int] = {}
    budgets: dict[str, int] = {}
    began_at: float = 0.0


class Finding(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        name: the invariant.
        holds: whether it does.
        figures: what was counted.
        examples: what broke it.
    """

    name: str
    holds: bool
    figures: str
    examples: list[str] = []


def check(evidence: Evidence) -> list[Finding]:
    """Return a finding for each invariant."""
    return [
        *_ledger(evidence),
        _streams(evidence),
        _answers(evidence),
        _logins(evidence),
        *_rates(evidence),
        *_budgets(evidence),
        _counters(evidence),
        *_growth(evidence),
        _ends(evidence),
    ]


def _finding(name: str, broken: Iterable[object], figures: str) -> Finding:
    examples = [str(each) for each in broken]
    return Finding(name, not examples, figures, examples[:5])


def _ledger(evidence: Evidence) -> list[Finding]:
    served = Counter(seen.id for seen in evidence.seen)
    rows = Counter(row.id for row in evidence.rows)
    answered = {row.id for row in evidence.rows if row.outcome == "ok"}
    whole = {each.id for each in evidence.outcomes if each.kind == "whole"}
    outcomes = Counter(row.outcome for row in evidence.rows)
    return [
        _finding(
            "ledger: each request that the service saw has a row",
            served.keys() - rows.keys(),
            f"{len(served)} requests, {len(rows)} rows {dict(outcomes)}",
        ),
        _finding(
            "ledger: no request has two rows, and the service saw none twice",
            [id for id, count in (rows + served).items() if rows[id] > 1 or served[id] > 1],
            f"{len(rows)} ids",
        ),
        _finding(
            "ledger: each answered row is a request that the service saw",
            answered - served.keys(),
            f"{len(answered)} answered rows",
        ),
        _finding(
            "ledger: each answer that a client has read to its end has a row",
            whole - rows.keys(),
            f"{len(whole)} whole answers",
        ),
    ]


def _streams(evidence: Evidence) -> Finding:
    cut = [each for each in evidence.outcomes if each.kind in ("cut", "failed")]
    return _finding(
        "streams: none is cut but those of killed workers",
        [each for each in cut if not _was_killed(evidence, each)],
        f"{len(cut)} cut, {sum(len(host.killed_at) for host in evidence.hosts)} workers killed",
    )


def _was_killed(evidence: Evidence, outcome: Outcome) -> bool:
    return any(
        outcome.began_at - NEAR_S <= at <= outcome.ended_at
        for at in evidence.hosts[outcome.host].killed_at
    )


def _answers(evidence: Evidence) -> Finding:
    statuses = Counter(each.status for each in evidence.outcomes if each.status)
    return _finding(
        "answers: 200, 429 and 503 only",
        [each for each in evidence.outcomes if each.status and each.status not in ANSWERED],
        f"{dict(sorted(statuses.items()))}",
    )


def _near_outage(evidence: Evidence, at: float) -> bool:
    """Return whether processes had tokens of their own at that time."""
    return any(start - 1 <= at <= end + RESTS_S + LIFETIME_S for start, end in evidence.outages)


def _without_store(evidence: Evidence, at: float) -> bool:
    """Return whether a worker that logged in at that time had said that the store has failed."""
    return any(
        failed - LATE_S <= at <= failed + RESTS_S + LATE_S
        for host in evidence.hosts
        for failed in host.without_store_at
    )


def _logins(evidence: Evidence) -> Finding:
    """A login is due when the token before has expired, or when Redis has lost it.

    A worker that cannot use the token store in time logs in by itself, and says so: that login is
    not one of those that the others share, whichever of two it is.
    """
    early = [
        (before, at)
        for before, at in pairwise(evidence.logins)
        if at - before < LIFETIME_S * 0.9 and not _near_outage(evidence, at)
    ]
    needless = [
        f"{at - before:.2f} s after the one before"
        for before, at in early
        if not (_without_store(evidence, before) or _without_store(evidence, at))
    ]
    return _finding(
        "logins: one for each expiry, over all workers and hosts",
        needless,
        f"{len(evidence.logins)} logins of a token that lives {LIFETIME_S:g} s, "
        f"{len(early) - len(needless)} by workers whose log says that the store has failed",
    )


def _rates(evidence: Evidence) -> Iterable[Finding]:
    """A rate is exact where requests are admitted, which is between the client and the service.

    On the way to the service one request may be slower than the next, so the service can see more
    in a window than were admitted in any. Requests that were sent *and* seen within a window were
    admitted in it, however long their ways were.
    """
    for key, limit in evidence.rates.items():
        times = [(seen.sent_at, seen.at) for seen in evidence.seen if seen.key == key]
        most, worst = 0, evidence.began_at
        for begin, _ in times:
            inside = sum(1 for sent_at, at in times if begin <= sent_at and at < begin + WINDOW_S)
            if inside > most:
                most, worst = inside, begin
        yield Finding(
            f"rates: no more than {limit} requests of {key} are admitted in any {WINDOW_S:g} s",
            most <= limit,
            f"at most {most}, from {worst - evidence.began_at:.1f} s",
        )


def _budgets(evidence: Evidence) -> Iterable[Finding]:
    """What a killed worker's requests have used is what the service had sent them."""
    sent = {seen.id: seen.tokens for seen in evidence.seen}
    used: dict[str, list[int]] = defaultdict(list)
    killed: dict[str, int] = defaultdict(int)
    for row in evidence.rows:
        interrupted = row.outcome == "interrupted"
        used[row.key].append(sent.get(row.id, 0) if interrupted else row.tokens)
        killed[row.key] += interrupted
    for key, budget in evidence.budgets.items():
        spent, largest = sum(used[key]), max(used[key], default=0)
        yield Finding(
            "budgets: overspent by at most one request",
            0 < spent <= budget + largest,
            f"{spent} of {budget} tokens, the largest request had {largest}; "
            f"{killed[key]} requests of killed workers",
        )


def _counters(evidence: Evidence) -> Finding:
    back = [
        f"host {host}: {before} then {after}"
        for host, values in evidence.scrapes.items()
        for before, after in pairwise(values)
        if after < before
    ]
    count = sum(map(len, evidence.scrapes.values()))
    return _finding("metrics: no counter goes backwards", back, f"{count} scrapes")


def _growth(evidence: Evidence) -> Iterable[Finding]:
    for index, name, allowed in ((0, "descriptors", DESCRIPTORS), (1, "KiB of memory", MEMORY_KIB)):
        before = max((size[index] for size in evidence.sizes_before), default=0)
        after = max((size[index] for size in evidence.sizes_after), default=0)
        yield Finding(
            f"growth: no worker holds more {name}",
            0 < after <= before + allowed,
            f"at most {before} after the warm-up, {after} at the end",
        )


def _ends(evidence: Evidence) -> Finding:
    tracebacks = [
        f"host {host.number}: {line.strip()}"
        for host in evidence.hosts
        for line in host.said
        if "Traceback" in line
    ]
    odd = [f"exit code {code}" for code in evidence.codes if code != 0]
    return _finding("ends: each host stops with 0 and without a traceback", [*odd, *tracebacks], "")


def tokens(text: str) -> int:
    """Return a number of a row, 0 if there is none."""
    return int(Decimal(text)) if text else 0
