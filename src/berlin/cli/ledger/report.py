"""The figures of `berlin usage`: as a table with bars, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from decimal import Decimal

import click

from berlin.cli.terminal import json_line, one_line
from berlin.ledger.figures import (
    SUMS,
    Figures,
    Grouping,
    Query,
    figures_resource,
    total_of,
    usage_resource,
)

MAX_BAR_CHARS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


def as_csv(groups: list[Figures], by: Grouping) -> str:
    """Return the figures as comma-separated values, with a line of names."""
    out = io.StringIO()
    names = [name for name in SUMS if name != "cost_nanos"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([by, *names, "cost"])
    for group in groups:
        values = figures_resource(group)
        writer.writerow([_plain(group.group), *(values[name] for name in names), values["cost"]])
    return out.getvalue()


def as_json(groups: list[Figures], query: Query, currency: str) -> str:
    """Return the figures as a JSON object."""
    return json_line(usage_resource(groups, query, currency), indent=2)


def show(groups: list[Figures], by: Grouping, currency: str) -> None:
    """Print the figures as a table with bars, as wide as the terminal allows."""
    if not groups:
        click.echo("No requests in this time.")
        return
    for line in table_of(groups, by, currency, shutil.get_terminal_size().columns):
        click.echo(line)
    unpriced = sum(group.unpriced for group in groups)
    if unpriced:
        click.echo(f"{unpriced:,} requests have no price: see [prices].")


def table_of(groups: list[Figures], by: Grouping, currency: str, width: int) -> list[str]:
    """Return the lines of the table.

    Args:
        width: columns of the terminal.
    """
    cost = f"cost {currency}".rstrip()
    rows: list[tuple[str, ...]] = [(by, "requests", "failed", "in", "out", "cached", cost)]
    rows += [(one_line(group.group) or "(none)", *_cells(group)) for group in groups]
    if len(groups) > 1:
        rows.append(("all", *_cells(total_of(groups))))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    room = min(width - sum(widths) - 2 * len(widths) - 1, MAX_BAR_CHARS)
    value = _measure(groups)
    largest = max(map(value, groups)) or 1
    bars = ["", *(bar(value(group) / largest, max(room, 0)) for group in groups), ""]
    return [
        "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]), strip)).rstrip()
        for row, strip in zip(rows, bars, strict=False)
    ]


def bar(share: float, chars: int) -> str:
    """Return a bar of at most this many characters for a share from 0 to 1."""
    eighths = round(share * chars * 8)
    whole, part = divmod(eighths, 8)
    return "█" * whole + _EIGHTHS[part].strip()


def _cells(group: Figures) -> list[str]:
    mark = "~" if group.estimated else ""
    return [
        f"{group.requests:,}",
        f"{group.failed:,}",
        f"{mark}{group.input_tokens:,}",
        f"{mark}{group.output_tokens:,}",
        f"{group.cached_tokens:,}",
        f"{mark}{money(group.cost)}" if group.cost_nanos else "-",
    ]


def money(cost: Decimal) -> str:
    """Return an amount with four decimal places, or with more if it is small."""
    return f"{cost:,.4f}" if cost >= 1 else f"{cost:,.6f}"


def _measure(groups: list[Figures]) -> Callable[[Figures], int]:
    if any(group.cost_nanos for group in groups):
        return lambda group: group.cost_nanos
    return lambda group: group.input_tokens + group.output_tokens or group.requests


def _plain(text: str) -> str:
    """Return text that a spreadsheet does not take for a formula: a client chose it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
