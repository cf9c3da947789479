"""Days and months of a time zone, as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo


def zone_of(name: str) -> tzinfo:
    """Return the time zone of a name. Raises ValueError, with a message for a person."""
    if name == "UTC":  # known also where the system has no time zones, as on Windows
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{name[:40]!r} is not a time zone of this machine; write one such as Europe/Berlin"
        ) from None


@lru_cache(maxsize=256)
def bounds(unit: Literal["day", "month"], zone: str, minute: int) -> tuple[float, float]:
    """Return the beginning and the end of the day or month that a minute belongs to.

    All are in seconds since the epoch, but for the minute.
    """
    at = datetime.fromtimestamp(minute * 60, UTC).astimezone(zone_of(zone))
    first = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "day":
        after = first + timedelta(days=1)
    else:
        first = first.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return first.timestamp(), after.timestamp()
