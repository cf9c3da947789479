"""`berlin key`: which programs may use `berlin serve`, and which models."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from berlin.cli.gateway.limits import limit_options
from berlin.config import data_path
from berlin.gateway.access.keys import Key, KeyStore


def keys_path() -> Path:
    """Return the path of the keys."""
    return data_path("keys.sqlite")


@click.group()
def key() -> None:
    """Manage the API keys of `berlin serve`.

    A running `berlin serve` sees every change within a second.
    """


@key.command()
@click.argument("name")
@limit_options
def add(name: str, models: tuple[str, ...], expires: float | None, rpm: int | None) -> None:
    """Create a key and print it. It is shown only once; only its hash is stored."""
    made, token = KeyStore(keys_path()).add(name, models, expires, rpm)
    click.echo(token.reveal())
    click.echo(f"berlin: this is the key {name!r} ({made.id}); it is not shown again", err=True)


@key.command("list")
def list_keys() -> None:
    """List the keys and their state. The keys themselves are neither stored nor shown."""
    now = time.time()
    header = ("ID", "NAME", "STATE", "MODELS", "PER MINUTE", "MADE (UTC)", "EXPIRES (UTC)")
    rows = [header, *(_row(key, now) for key in KeyStore(keys_path()).entries())]
    widths = [max(len(row[n]) for row in rows) for n in range(len(header))]
    for row in rows:
        click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


@key.command()
@click.argument("name_or_id", metavar="NAME")
def revoke(name_or_id: str) -> None:
    """Revoke the key NAME (or its id) permanently."""
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
