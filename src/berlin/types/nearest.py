"""Suggests the name that was probably meant."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable
from itertools import islice

# Below this two names only share letters ('nope' and 'openai' have 0.6).
LEAST_LIKENESS = 0.65
# Comparing two names takes time that grows with the square of their length, and a service may list
# very many long ones: all of this together takes some milliseconds.
MAX_NAME_CHARS = 64
MAX_NAMES = 500
MAX_COMPARED = 12


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, or `None` if none is like it.

    Only the names that share most pairs of letters with it are compared in full.
    """
    name = name[:MAX_NAME_CHARS]
    pairs = _pairs(name)
    few = heapq.nlargest(
        MAX_COMPARED,
        (other for other in islice(known, MAX_NAMES) if len(other) <= 2 * MAX_NAME_CHARS),
        key=lambda other: len(pairs & _pairs(other[:MAX_NAME_CHARS])) - abs(len(other) - len(name)),
    )
    found = difflib.get_close_matches(name, few, n=1, cutoff=LEAST_LIKENESS)
    return found[0] if found else None


def suggest(name: str, known: Iterable[str], otherwise: str, form: str = "{!r}") -> str:
    """Return `did you mean …?` with the nearest name, or the other text if none is like it."""
    near = nearest(name, known)
    return otherwise if near is None else f"did you mean {form.format(near)}?"


def _pairs(text: str) -> set[str]:
    return {text[n : n + 2] for n in range(len(text) - 1)}
