"""The permission options of keys and accounts."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

_UNITS = {"h": 3_600, "d": 86_400, "w": 604_800}

_F = TypeVar("_F", bound=Callable[..., Any])


def _expiry(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds since the epoch for a span from now or a day."""
    if value is None:
        return None
    span = re.fullmatch(r"([0-9]{1,5})([hdw])", value)
    if span:
        return time.time() + int(span[1]) * _UNITS[span[2]]
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is neither a span such as 12h, 30d or 4w nor a day such as 2030-01-31"
        ) from None


_OPTIONS = (
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
)


def limit_options(command: _F) -> _F:
    """Add to a command the options `--model`, `--expires` and `--rpm`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
