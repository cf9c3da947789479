"""A probable mistake in a recipe, and its place."""

from __future__ import annotations

import msgspec


class Hint(msgspec.Struct, frozen=True):
    """One probable mistake.

    Attributes:
        place: the key in the recipe; its parts may include the number of a step.
        why: the mistake, and what to write instead.
    """

    place: tuple[str, ...]
    why: str
