"""The comparison of `make fleet` notices what it is there to notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.checks import DESCRIPTORS, Evidence, Row, check
from fleet.clients import Outcome
from fleet.host import Host
from fleet.network import Place
from fleet.service import LIFETIME_S, Seen


def evidence(folder: Path) -> Evidence:
    """Return what a good run leaves: two requests, a worker that was killed, and two logins."""
    host = Host(0, Place("127.0.0.1"), folder, 2, {})
    host.killed_at = [100.0]
    return Evidence(
        outcomes=[
            Outcome(0, "k", 50.0, 51.0, "a", 200, "whole"),
            Outcome(0, "k", 99.0, 101.0, "b", 200, "cut"),
        ],
        seen=[Seen("a", "k", 49.9, 50.0, 1), Seen("b", "k", 98.9, 99.0, 1)],
        rows=[Row("a", "ok", 1, "k", 10), Row("b", "interrupted", 1, "k", 0)],
        logins=[0.0, LIFETIME_S],
        hosts=[host],
        sizes_before=[(40, 90_000)],
        sizes_after=[(41, 91_000)],
        scrapes={0: [1.0, 2.0]},
        codes=[0],
        rates={"k": 2},
        budgets={"k": 5},
    )


def test_a_good_run_passes(tmp_path: Path) -> None:
    """Every invariant holds for what a good run leaves."""
    assert [finding.name for finding in check(evidence(tmp_path)) if not finding.holds] == []


def _lose_row(seen: Evidence) -> None:
    seen.rows = seen.rows[1:]


def _row_twice(seen: Evidence) -> None:
    seen.rows = [*seen.rows, seen.rows[0]]


def _send_twice(seen: Evidence) -> None:
    seen.seen = [*seen.seen, seen.seen[0]]


def _cut(seen: Evidence) -> None:
    seen.outcomes[0].kind = "cut"


def _odd_status(seen: Evidence) -> None:
    seen.outcomes[0].status = 500


def _login(seen: Evidence) -> None:
    seen.logins = [0.0, 1.0]


def _rate(seen: Evidence) -> None:
    seen.rates = {"k": 1}


def _budget(seen: Evidence) -> None:
    seen.rows = [*seen.rows, Row("c", "ok", 1, "k", 10)]


def _counter(seen: Evidence) -> None:
    seen.scrapes = {0: [2.0, 1.0]}


def _descriptors(seen: Evidence) -> None:
    seen.sizes_after = [(41 + DESCRIPTORS, 91_000)]


def _exit(seen: Evidence) -> None:
    seen.codes = [1]


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (_lose_row, "ledger: each request"),
        (_row_twice, "ledger: no request has two"),
        (_send_twice, "ledger: no request has two"),
        (_cut, "streams"),
        (_odd_status, "answers"),
        (_login, "logins"),
        (_rate, "rates"),
        (_budget, "budgets"),
        (_counter, "metrics"),
        (_descriptors, "growth"),
        (_exit, "ends"),
    ],
)
def test_each_damage_is_noticed(
    damage: Callable[[Evidence], None], invariant: str, tmp_path: Path
) -> None:
    """A run with one fault fails the line about it."""
    seen = evidence(tmp_path)
    damage(seen)
    assert any(each.name.startswith(invariant) for each in check(seen) if not each.holds)


def test_a_request_that_was_slow_on_its_way_breaks_no_rate(tmp_path: Path) -> None:
    """The service saw two in 60 s; the first was sent 60 s before the second arrived, and may have
    been admitted then."""
    seen = evidence(tmp_path)
    seen.rates = {"k": 1}
    seen.seen = [Seen("a", "k", 38.0, 50.0, 1), Seen("b", "k", 98.1, 99.0, 1)]
    assert all(each.holds for each in check(seen) if each.name.startswith("rates"))


@pytest.mark.parametrize(("failed_at", "holds"), [(0.9, True), (3.5, False), (-4.5, False)])
def test_a_login_without_the_store(failed_at: float, holds: bool, tmp_path: Path) -> None:
    """A worker logs in by itself only in the seconds after its log says that the store failed."""
    seen = evidence(tmp_path)
    seen.logins = [0.5, 1.0]
    seen.hosts[0].without_store_at = [failed_at]
    assert all(each.holds for each in check(seen) if each.name.startswith("logins")) == holds
