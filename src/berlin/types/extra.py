"""What a dialect says and the hub has no word for: it travels beside what the hub knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec


class Extra(msgspec.Struct, frozen=True, gc=False):
    """Members of one place (a request, message, part, tool or event), verbatim.

    A dialect reads back only its own: `extra_of(value, "openai")`. What another dialect makes of
    them is decided in one table for each dialect.

    Attributes:
        dialect: whose words these are: `openai`, `responses`, `anthropic`, `ollama`.
        members: name and decoded JSON value, as they came.
    """

    dialect: str
    members: Mapping[str, Any]


MaybeExtra: TypeAlias = Extra | None


def extra_of(extra: MaybeExtra, dialect: str) -> Mapping[str, Any]:
    """Return the members that are of this dialect; empty where there are none."""
    return extra.members if extra is not None and extra.dialect == dialect else {}
