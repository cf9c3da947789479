"""`berlin key`: which programs may use `berlin serve`, and how much."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from berlin.cli.gateway.limits import limit_options, span_option
from berlin.cli.lazy import Group
from berlin.cli.terminal import align, tell
from berlin.config import data_path, load_config
from berlin.config.tables.limits import parse_rule
from berlin.gateway.access.caller import SCOPES, Scope
from berlin.gateway.access.keys import Key, KeyStore
from berlin.types import Secret


def keys_path() -> Path:
    """Return the path of the keys."""
    return data_path("keys.sqlite")


def key_store(config: Path | None = None) -> KeyStore:
    """Return the keys where the configuration says."""
    from berlin.config.references import resolve_value
    from berlin.gateway.access.shared_keys.store import PostgresTable

    url = resolve_value(load_config(config).keys.store, "keys.store", os.environ)
    return KeyStore(keys_path() if url is None else PostgresTable(Secret(url)))


@click.group(cls=Group)
def key() -> None:
    """Manage the API keys of `berlin serve`.

    A running `berlin serve` sees every change within a second. The keys are in a file, or in the
    PostgreSQL that `[keys] store` of the configuration names.
    """


@key.command()
@click.argument("name")
@limit_options
@click.option("--user", default="", metavar="NAME", help="The person that the key belongs to.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; everything unless given. Can be repeated.",
)
def add(
    name: str,
    models: tuple[str, ...],
    expires: float | None,
    rpm: int | None,
    limits: tuple[str, ...],
    user: str,
    scopes: tuple[Scope, ...],
) -> None:
    """Create a key and print it. It is shown only once; only its hash is stored."""
    made, token = key_store().add(
        name,
        models,
        expires_at=expires,
        requests_per_minute=rpm,
        user=user,
        scopes=scopes,
        limits=limits,
    )
    click.echo(token.reveal())
    tell(f"this is the key {name!r} ({made.id}); it is not shown again")
    if any(parse_rule(limit).unit == "money" for limit in limits) and not load_config().prices:
        tell("warning: no model has a price, so this key's requests are refused: add [prices]")


@key.command()
@click.argument("name_or_id", metavar="NAME")
@click.option(
    "--grace",
    default="1h",
    callback=span_option,
    metavar="SPAN",
    show_default=True,
    help="How long the old token stays valid, such as 30m, 12h or 7d.",
)
def rotate(name_or_id: str, grace: float) -> None:
    """Give the key NAME a new token and print it; name, limits and usage stay.

    The old token stays valid for a while, so that programs can be changed one by one.
    """
    rotated = key_store().rotate(name_or_id, grace)
    if rotated is None:
        raise click.UsageError(f"there is no live key {name_or_id!r}; see `berlin key list`")
    made, token = rotated
    click.echo(token.reveal())
    tell(
        f"this is the new token of {made.name!r} ({made.id}); it is not shown again, and "
        f"the old one is valid until {_day(made.old_expires_at)} UTC"
    )


@key.command("list")
def list_keys() -> None:
    """List the keys and their state. The keys themselves are neither stored nor shown."""
    now = time.time()
    header = (
        *("ID", "NAME", "STATE", "MODELS", "PER MINUTE", "LIMITS", "USER", "SCOPES"),
        *("MADE (UTC)", "EXPIRES (UTC)"),
    )
    for line in align([header, *(_row(key, now) for key in key_store().entries())]):
        click.echo(line)


@key.command()
@click.argument("name_or_id", metavar="NAME")
def revoke(name_or_id: str) -> None:
    """Revoke the key NAME (or its id) permanently."""
    if not key_store().revoke(name_or_id):
        raise click.UsageError(f"there is no key {name_or_id!r} to revoke; see `berlin key list`")
    click.echo(f"{name_or_id} is revoked; a running `berlin serve` refuses it within a second.")


def _row(key: Key, now: float) -> tuple[str, ...]:
    models = " ".join(key.models) or "all"
    limit = "-" if key.requests_per_minute is None else str(key.requests_per_minute)
    own = "; ".join(key.limits) or "-"
    scopes = " ".join(key.scopes) or "all"
    made, expires = _day(key.created_at), _day(key.expires_at)
    return (
        *(key.id, key.name, key.state(now), models, limit, own, key.user or "-", scopes),
        *(made, expires),
    )


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
