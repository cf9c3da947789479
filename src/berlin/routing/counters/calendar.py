"""Days and months of a time zone, as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def is_zone(name: str) -> bool:
    """Return whether a time zone is known on this machine, such as `Europe/Berlin`."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def bounds(unit: Literal["day", "month"], zone: str, now: float) -> tuple[float, float]:
    """Return the beginning and the end of the day or month that a time belongs to."""
    # A period begins at a full minute everywhere, so one calculation serves a minute of requests.
    return _bounds(unit, zone, int(now // 60))


@lru_cache(maxsize=256)
def _bounds(unit: Literal["day", "month"], zone: str, minute: int) -> tuple[float, float]:
    there = UTC if zone == "UTC" else ZoneInfo(zone)
    at = datetime.fromtimestamp(minute * 60, UTC).astimezone(there)
    first = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "day":
        after = first + timedelta(days=1)
    else:
        first = first.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    return first.timestamp(), after.timestamp()
