"""Figures, their ratios and their targets, as tables of Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Target(NamedTuple):
    """A line of the table of targets.

    Attributes:
        what: in words.
        wanted: the target, as text.
        got: the figure.
        met: whether it is met.
    """

    what: str
    wanted: str
    got: str
    met: bool


def at_least(what: str, limit: float, got: float | None, unit: str = "") -> Target:
    """Return a target that a figure has to reach."""
    shown = "not measured" if got is None else f"{got:.3g}{unit}"
    return Target(what, f"≥ {limit:g}{unit}", shown, got is not None and got >= limit)


def at_most(what: str, limit: float, got: float | None, unit: str = "") -> Target:
    """Return a target that a figure may not pass."""
    shown = "not measured" if got is None else f"{got:.3g}{unit}"
    return Target(what, f"≤ {limit:g}{unit}", shown, got is not None and got <= limit)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join('---' for _ in head)}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def targets(met: Iterable[Target]) -> str:
    """Return the table of targets."""
    rows = [(t.what, t.wanted, t.got, "yes" if t.met else "**no**") for t in met]
    return markdown(("target", "wanted", "measured", "met"), rows)


class Rounds:
    """Figures of several subjects that took turns in one run.

    A ratio is taken round by round, so that it holds when the machine's speed drifts.
    """

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, list[float]]] = {}

    def add(self, subject: str, figures: Mapping[str, float]) -> None:
        """Take the figures of one round."""
        for name, value in figures.items():
            self.figures.setdefault(subject, {}).setdefault(name, []).append(value)

    def median(self, subject: str, name: str) -> float | None:
        """Return the median of all rounds, or `None` if there was none."""
        values = self.figures.get(subject, {}).get(name)
        return statistics.median(values) if values else None

    def ratio(self, subject: str, other: str, name: str) -> float | None:
        """Return the median of the ratios of all rounds."""
        mine, theirs = (self.figures.get(who, {}).get(name, []) for who in (subject, other))
        ratios = [a / b for a, b in zip(mine, theirs, strict=False) if b]
        return statistics.median(ratios) if ratios else None

    def table(self, columns: Mapping[str, tuple[str, Callable[[float], str]]], base: str) -> str:
        """Return a table: a row a subject, and behind each figure its ratio to the base."""
        head = ["", *(title for title, _ in columns.values())]
        rows = []
        for subject in self.figures:
            cells = []
            for name, (_, show) in columns.items():
                value, ratio = self.median(subject, name), self.ratio(subject, base, name)
                told = "" if value is None else show(value)
                if ratio is not None and subject != base:
                    told += f" ({ratio:.2f})" if ratio < 100 else f" ({ratio:,.0f})"
                cells.append(told)
            rows.append([subject, *cells])
        return markdown(head, rows)
