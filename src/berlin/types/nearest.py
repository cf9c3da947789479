"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Below this two names only share letters ('nope' and 'openai' have 0.6).
LEAST_LIKENESS = 0.65
# Longer names and lists are cut: comparing takes time.
MAX_NAME_CHARS = 100
MAX_NAMES = 2_000


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, or `None` if none is like it."""
    few = [known_name for _, known_name in zip(range(MAX_NAMES), known, strict=False)]
    found = difflib.get_close_matches(name[:MAX_NAME_CHARS], few, n=1, cutoff=LEAST_LIKENESS)
    return found[0] if found else None
