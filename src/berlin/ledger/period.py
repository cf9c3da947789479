"""Times as people write them: a date, a time, or an age."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from berlin.routing.counters.calendar import zone_of

_AGE = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_time(text: str, now: datetime, zone: str = "UTC") -> datetime:
    """Return the time that a text names.

    Args:
        text: `2026-11-01`, `2026-11-01T12:00:00Z`, or `12h`, `7d`, `4w` for an age.
        now: the present time.
        zone: the time zone of a time without one.

    Raises:
        ValueError: if it names none; the message is for a person.
    """
    age = _AGE.fullmatch(text.strip())
    try:
        if age is not None:
            return now - int(age[1]) * _UNITS[age[2]]
        found = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!r} is not a time: write a date such as 2026-11-01, or an age such as 7d"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=zone_of(zone))
