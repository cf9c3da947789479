"""`berlin account`: who may log in to `berlin serve`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from berlin.cli.gateway.limits import limit_options
from berlin.cli.lazy import Group
from berlin.config import data_path
from berlin.gateway.access.accounts import Accounts
from berlin.types import Secret


def accounts_path() -> Path:
    """Return the path of the accounts."""
    return data_path("accounts.json")


@click.group(cls=Group)
def account() -> None:
    """Manage the accounts of `berlin serve`."""


@account.command()
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@limit_options
def add(
    name: str,
    password_stdin: bool,
    models: tuple[str, ...],
    expires: float | None,
    rpm: int | None,
    limits: tuple[str, ...],
) -> None:
    """Add the account NAME, or replace its password and limits.

    Only a hash of the password is stored.
    """
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    elif sys.stdin is not None and sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError("there is no terminal to ask on; use --password-stdin")
    if not password:
        raise click.UsageError("the password is empty")
    accounts = Accounts.load(accounts_path())
    accounts.add(
        name, Secret(password), models, expires_at=expires, requests_per_minute=rpm, limits=limits
    )
    accounts.save(accounts_path())
    click.echo(f"{name} can log in now, also to a running `berlin serve`.")


@account.command("list")
def list_names() -> None:
    """List the accounts."""
    for name in Accounts.load(accounts_path()).names:
        click.echo(name)


@account.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove the account NAME."""
    accounts = Accounts.load(accounts_path())
    if not accounts.remove(name):
        raise click.UsageError(f"there is no account {name!r}")
    accounts.save(accounts_path())
    click.echo(f"{name} can no longer log in, and its sessions have ended.")
