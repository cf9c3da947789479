"""The figures as a person reads them: table, CSV and JSON; and times as a person writes them."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from berlin.cli.ledger.report import as_csv, as_json, bar, table_of
from berlin.ledger.figures import Figures, Query, total_of
from berlin.ledger.period import parse_time
from berlin.routing.counters.calendar import zone_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
GROUPS = [
    Figures(
        group="work:deep", requests=3, input_tokens=4000, output_tokens=10, cost_nanos=2 * 10**9
    ),
    Figures(group="=work:x", requests=1, failed=1, estimated=1, cost_nanos=5 * 10**8),
]


def test_the_table_has_a_bar_for_each_group() -> None:
    """The largest cost fills the room, estimates are marked, and the last line is the sum."""
    head, first, second, last = table_of(GROUPS, "model", "USD", 86)
    assert head.split() == ["model", "requests", "failed", "in", "out", "cached", "cost", "USD"]
    assert first.split()[:4] == ["work:deep", "3", "0", "4,000"]
    assert first.count("█") == 4 * second.count("█") > 0
    assert "~0.500000" in second
    assert last.split() == ["all", "4", "1", "~4,000", "~10", "0", "~2.5000"]
    assert len(first) <= 86


def test_a_narrow_terminal_has_no_bars() -> None:
    """Numbers are never cut for a bar."""
    assert all("█" not in line for line in table_of(GROUPS, "model", "", 20))


def test_bars_have_eighths() -> None:
    """A share is drawn to an eighth of a character; nothing is nothing."""
    assert (bar(0, 8), bar(1, 8), bar(0.5, 8)) == ("", "████████", "████")
    assert bar(1 / 64, 8) == "▏"


def test_csv_is_safe_for_a_spreadsheet() -> None:
    """Every figure has a column; a name that a client chose is no formula."""
    rows = list(csv.DictReader(io.StringIO(as_csv(GROUPS, "model"))))
    assert [row["model"] for row in rows] == ["work:deep", "'=work:x"]
    assert rows[0]["cost"] == "2.000000000"


def test_json_has_the_sum_and_the_groups() -> None:
    """Money is a decimal number as text."""
    found = json.loads(as_json(GROUPS, Query(by="model", since=NOW), "EUR"))
    assert found["total"]["cost"] == "2.500000000"
    assert found["data"][0]["model"] == "work:deep"
    assert (found["currency"], found["since"]) == ("EUR", "2026-11-28T12:00:00+00:00")
    assert total_of([]) == Figures()


@pytest.mark.parametrize(
    ("text", "zone", "time"),
    [
        ("12h", "UTC", "2026-11-28T00:00:00+00:00"),
        ("7d", "UTC", "2026-11-21T12:00:00+00:00"),
        ("2w", "UTC", "2026-11-14T12:00:00+00:00"),
        ("2026-11-01", "UTC", "2026-11-01T00:00:00+00:00"),
        ("2026-11-01", "Europe/Moscow", "2026-10-31T21:00:00+00:00"),
        ("2026-11-01T10:00:00Z", "Europe/Moscow", "2026-11-01T10:00:00+00:00"),
    ],
)
def test_times_are_dates_or_ages(text: str, zone: str, time: str) -> None:
    """A date begins in the time zone that was asked for."""
    assert parse_time(text, NOW, zone) == datetime.fromisoformat(time)


@pytest.mark.parametrize("text", ["yesterday", "", "7", "-7d", "999999w", "2026-13-01"])
def test_a_wrong_time_is_explained(text: str) -> None:
    """The error says how a time is written."""
    with pytest.raises(ValueError, match="such as 7d"):
        parse_time(text, NOW)


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "\0"])
def test_a_wrong_zone_is_explained(name: str) -> None:
    """The error says how a time zone is written."""
    with pytest.raises(ValueError, match="Europe/Berlin"):
        zone_of(name)
    assert zone_of("UTC") is UTC
