"""`berlin login` and `berlin logout`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click
import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.login_store import StoredLogin
from berlin.cli.options import config_option
from berlin.client import Berlin
from berlin.config import Overrides, load_config, login_store, resolve_settings


@click.command()
@click.argument("provider", default="berlin")
@click.option("--url", help="Base URL of the service; remembered with the login.")
@click.option("--account", help="The account; asked for if it is not given.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--allow-http", is_flag=True, help="Allow plain http to another machine.")
@config_option
def login(
    provider: str,
    url: str | None,
    account: str | None,
    password_stdin: bool,
    allow_http: bool,
    config: Path | None,
) -> None:
    """Log in to PROVIDER (`berlin` unless given) and remember account and password.

    The password is asked for, never taken from the command line, where others could see it. It is
    tried before it is stored: in the keyring, or where there is none in a file that only you can
    read.
    """
    given = Overrides(url=url, allow_http=allow_http or None)
    settings = resolve_settings(provider, load_config(config), given)
    account = account or os.environ.get("BERLIN_ACCOUNT") or _ask("Account")
    password = _read_password() if password_stdin else _ask("Password", hidden=True)
    credentials = Credentials.of(account, password, "login")
    settings = msgspec.structs.replace(settings, credentials=credentials)
    asyncio.run(_try(Berlin.from_settings(settings)))
    base = settings.endpoint.url
    where = login_store().save(provider, StoredLogin(base, account, password))
    click.echo(f"Logged in to {base} as {account}; stored in {where}.")


@click.command()
@click.argument("provider", default="berlin")
def logout(provider: str) -> None:
    """Forget the login of PROVIDER (`berlin` unless given)."""
    if login_store().delete(provider):
        click.echo(f"Forgot the login of {provider}.")
    else:
        click.echo(f"There is no stored login of {provider}.")


async def _try(provider: Berlin) -> None:
    async with provider:
        await provider.check()


def _ask(what: str, *, hidden: bool = False) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            f"{what.lower()}: there is no terminal to ask on; use --account and --password-stdin"
        )
    answer: str = click.prompt(what, hide_input=hidden, err=True)
    return answer


def _read_password() -> str:
    password = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    if not password:
        raise click.UsageError("standard input holds no password")
    return password
