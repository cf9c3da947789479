"""The permission options of keys and accounts."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

import click

from berlin.cli.options import together

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _seconds(text: str) -> float | None:
    """Return the seconds of a span such as `30m`, or `None` if the text is none."""
    span = re.fullmatch(r"([0-9]{1,5})([mhdw])", text)
    return int(span[1]) * _UNITS[span[2]] if span else None


def span_option(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the seconds of an option that is a span. Raises click.BadParameter."""
    seconds = _seconds(value)
    if seconds is None:
        raise click.BadParameter(f"{value!r} is not a span such as 30m, 12h or 7d")
    return seconds


def _expiry(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds since the epoch for a span from now or a day."""
    if value is None:
        return None
    span = _seconds(value)
    if span is not None:
        return time.time() + span
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a span such as 12h, 30d or 4w nor a day such as 2030-01-31"
        ) from None


limit_options = together(
    click.option(
        "--model",
        "models",
        multiple=True,
        metavar="PATTERN",
        help="Allow only this model: PROVIDER:MODEL, or PROVIDER:* for all models of a provider. "
        "Can be repeated.",
    ),
    click.option(
        "--expires",
        callback=_expiry,
        metavar="WHEN",
        help="When it expires: after a span such as 12h, 30d or 4w, or at the start of a day (UTC) "
        "such as 2030-01-31.",
    ),
    click.option("--rpm", type=click.IntRange(min=1), metavar="N", help="Requests per minute."),
    click.option(
        "--limit",
        "limits",
        multiple=True,
        metavar="LIMIT",
        help="AMOUNT UNIT/TIME, such as '5 USD/day', '90000 tokens/minute' or '100 USD/month on "
        "openai:gpt-5'. Can be repeated.",
    ),
)
