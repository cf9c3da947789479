"""`berlin tokens`: what the token store holds, never the tokens themselves."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from berlin.auth.tokens.store import Record, TokenStore
from berlin.cli.lazy import Group
from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import align
from berlin.config import open_store
from berlin.errors import TokenStoreError


@click.group(cls=Group, invoke_without_command=True)
@config_option
@click.pass_context
def tokens(ctx: click.Context, config: Path | None) -> None:
    """List the stored tokens: their accounts, their age, and how long they are valid.

    The tokens themselves are never shown.
    """
    store = open_store(load_for_commands(config).tokens, os.environ)
    ctx.obj = store
    if ctx.invoked_subcommand is not None:
        return
    if store is None:
        click.echo("Tokens are kept in memory only; nothing is stored.")
        return
    found = _rows(_entries(store), time.time())
    if not found:
        click.echo("No tokens are stored.")
        return
    for line in align([("RECIPE", "URL", "ACCOUNT", "AGE", "VALID FOR"), *found]):
        click.echo(line)


@tokens.command()
@click.pass_obj
def clear(store: TokenStore | None) -> None:
    """Delete all stored tokens; the next request to each provider logs in again."""
    count = 0
    if store is not None:
        try:
            count = store.delete()
        except OSError as error:
            raise TokenStoreError(f"the token store cannot be cleared: {error}") from error
    click.echo(f"Deleted {count} token{'' if count == 1 else 's'}.")


def _entries(store: TokenStore) -> list[Record]:
    try:
        return store.entries()
    except OSError as error:
        raise TokenStoreError(f"the token store cannot be read: {error}") from error


def _rows(records: list[Record], now: float) -> list[tuple[str, ...]]:
    return [(r.recipe, r.url, r.account or "-", _age(r, now), _valid_for(r, now)) for r in records]


def _age(record: Record, now: float) -> str:
    return _span(now - record.issued_at) if record.token else "-"


def _valid_for(record: Record, now: float) -> str:
    if record.refused_until > now:
        return f"refused; tried again in {_span(record.refused_until - now)}"
    if record.token is None:
        return "no token"
    if record.expires_at is None:
        return "until the service refuses it"
    return _span(record.expires_at - now) if record.expires_at > now else "expired"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
