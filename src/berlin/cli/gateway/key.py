"""`berlin key`: which programs may ask `berlin serve`, and which models."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from berlin.config import data_path
from berlin.gateway.access.keys import Key, KeyStore

_UNITS = {"h": 3_600, "d": 86_400, "w": 604_800}


def keys_path() -> Path:
    """Return where the keys are kept."""
    return data_path("keys.sqlite")


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


@click.group()
def key() -> None:
    """Manage the API keys of `berlin serve`.

    A running `berlin serve` sees every change within a second.
    """


@key.command()
@click.argument("name")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="PATTERN",
    help="Allow this model only: PROVIDER:MODEL, or PROVIDER:* for all of a provider. "
    "May be given more than once.",
)
@click.option(
    "--expires",
    callback=_expiry,
    metavar="WHEN",
    help="From when on it is no good: after 12h, 30d or 4w, or at the beginning of a day (UTC) "
    "such as 2030-01-31.",
)
@click.option("--rpm", type=click.IntRange(min=1), metavar="N", help="Requests per minute.")
def add(name: str, models: tuple[str, ...], expires: float | None, rpm: int | None) -> None:
    """Make a key and print it. It is shown this once: only a hash of it is kept."""
    made, token = KeyStore(keys_path()).add(name, models, expires, rpm)
    click.echo(token.reveal())
    click.echo(f"berlin: this is the key {name!r} ({made.id}); it is not shown again", err=True)


@key.command("list")
def list_keys() -> None:
    """List the keys and their state. The keys themselves are not kept, and not shown."""
    now = time.time()
    header = ("ID", "NAME", "STATE", "MODELS", "PER MINUTE", "MADE (UTC)", "EXPIRES (UTC)")
    rows = [header, *(_row(key, now) for key in KeyStore(keys_path()).entries())]
    widths = [max(len(row[n]) for row in rows) for n in range(len(header))]
    for row in rows:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


@key.command()
@click.argument("name_or_id", metavar="NAME")
def revoke(name_or_id: str) -> None:
    """Revoke the key NAME (or its id) for good."""
    if not KeyStore(keys_path()).revoke(name_or_id):
        raise click.UsageError(f"there is no key {name_or_id!r} to revoke; see `berlin key list`")
    click.echo(f"{name_or_id} is revoked; a running `berlin serve` refuses it within a second.")


def _row(key: Key, now: float) -> tuple[str, ...]:
    models = " ".join(key.models) or "all"
    limit = "-" if key.requests_per_minute is None else str(key.requests_per_minute)
    made, expires = _day(key.created_at), _day(key.expires_at)
    return key.id, key.name, key.state(now), models, limit, made, expires


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
