"""What is likely wrong in a recipe, and where that stands in it."""

from __future__ import annotations

import msgspec


class Hint(msgspec.Struct, frozen=True):
    """One likely mistake.

    Attributes:
        place: the key in the recipe; the number of a step among its parts.
        why: what is wrong there, and what to write.
    """

    place: tuple[str, ...]
    why: str
