"""The table `[keep_alive]` of a recipe: what keeps a session alive while it is used."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class KeepAliveMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[keep_alive]`: a request that keeps a session from expiring while it is used.

    Attributes:
        path: what is requested, below the endpoint's URL, with the token.
        method: the HTTP method.
        json: its body, without placeholders.
        every_s: seconds between two of them.
        for_s: how long after the last chat they are sent.
    """

    path: str
    method: Literal["GET", "POST", "PUT"] = "GET"
    json: dict[str, Any] | None = None
    every_s: float = 240.0
    for_s: float = 1800.0

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("path must begin with a slash")
        if not 1 <= self.every_s <= 86_400:
            raise ValueError("every_s must be from 1 to 86400 seconds")
        if not self.every_s <= self.for_s <= 7 * 86_400:
            raise ValueError("for_s must be from every_s to 604800 seconds")
