"""The screen of `berlin top`, made of two scrapes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from berlin.cli.gateway.top.scrape import Change
from berlin.cli.terminal import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_CIRCUITS = ("closed", "half-open", "open")
# The outcomes of requests that a limit has refused.
LIMITS = ("rate_limit_exceeded", "insufficient_quota", "limit_reached")


def render(change: Change, url: str) -> RenderableType:
    """Return the view."""
    from rich.console import Group
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    for title in COLUMNS:
        is_name = title == "provider"  # on a narrow terminal only names are wrapped
        justify: Literal["left", "right"] = "left" if is_name else "right"
        table.add_column(title, justify=justify, no_wrap=not is_name, min_width=len(title))
    for row in rows(change):
        table.add_row(*map(_plain, row), style="red" if row[-1] == "open" else None)
    return Group(*map(_plain, headlines(change, url)), "", table)


def _plain(text: str) -> Text:
    """Return text in which nothing is markup, or controls the terminal."""
    from rich.text import Text

    return Text(one_line(text))


COLUMNS = (
    *("provider", "open", "waiting", "req/s", "events/s", "1st p50", "1st p95"),
    *("failed", "errors/s", "circuit"),
)


def headlines(change: Change, url: str) -> Iterable[str]:
    """Yield the lines about the whole gateway."""
    now = change.now
    workers = ""
    if "berlin_workers" in now:
        restarts = now.total("berlin_worker_restarts_total")
        ready, all_of_them = now.total("berlin_workers_ready"), now.total("berlin_workers")
        workers = f"   workers {ready:.0f}/{all_of_them:.0f}, {restarts:.0f} restarts"
    yield f"{url}   {change.rate('berlin_requests_total'):.1f} requests/s{workers}"
    faces = now.by("berlin_open_streams", "face")
    streams = ", ".join(f"{face} {count:.0f}" for face, count in sorted(faces.items()) if count)
    yield f"streams {sum(faces.values()):.0f}{f' ({streams})' if streams else ''}"
    outcomes = {
        outcome: change.added("berlin_requests_total", outcome=outcome)
        for outcome in now.by("berlin_requests_total", "outcome")
    }
    shown = [f"{name} {count:.0f}" for name, count in sorted(outcomes.items()) if count]
    yield f"ended since the last look: {', '.join(shown) or 'none'}"
    refused = [f"{name} {now.total('berlin_requests_total', outcome=name):.0f}" for name in LIMITS]
    yield f"refused by limits, in all: {', '.join(refused)}"


def rows(change: Change) -> list[tuple[str, ...]]:
    """Return a row for each provider that was ever asked, the busiest first."""
    now = change.now
    names = {
        *now.by("berlin_open_requests", "provider"),
        *now.by("berlin_requests_total", "provider"),
        *now.by("berlin_circuit", "provider"),
    }
    made = [_row(change, name) for name in sorted(names - {"other"})]
    return sorted(made, key=lambda row: -float(row[1]))


def _row(change: Change, name: str) -> tuple[str, ...]:
    now, first = change.now, "berlin_first_event_seconds"
    circuits = now.by("berlin_circuit", "provider", provider=name)
    circuit = _CIRCUITS[int(circuits[name])] if circuits.get(name, -1) in (0, 1, 2) else "-"
    return (
        name,
        f"{now.total('berlin_open_requests', provider=name):.0f}",
        f"{now.total('berlin_waiting', provider=name):.0f}",
        f"{change.rate('berlin_requests_total', provider=name):.1f}",
        f"{change.rate('berlin_events_total', provider=name):.0f}",
        _seconds(change.quantile(first, 0.5, provider=name)),
        _seconds(change.quantile(first, 0.95, provider=name)),
        f"{change.added('berlin_failed_attempts_total', provider=name):.0f}",
        f"{change.rate('berlin_upstream_errors_total', provider=name):.1f}",
        circuit,
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
