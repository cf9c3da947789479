"""`berlin login` and `berlin logout`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from berlin.cli.options import (
    complete_provider,
    config_option,
    load_for_commands,
    login_options,
    provider_to_log_in,
)
from berlin.cli.provider.signing_in import ask_for, environ_without_users, forget_tokens, sign_in
from berlin.client import Berlin
from berlin.config import (
    ENVIRONMENT_PROVIDER,
    Overrides,
    Settings,
    find_provider,
    login_store,
    resolve_recipe,
    resolve_settings,
)


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@click.option("--url", help="Base URL of the service; stored with the login.")
@login_options
@click.option(
    "--cookie",
    is_flag=True,
    help="Paste the cookies of your browser's session instead of logging in.",
)
@config_option
def login(
    provider: str | None,
    url: str | None,
    account: str | None,
    password_stdin: bool,
    cookie: bool,
    allow_http: bool,
    config: Path | None,
) -> None:
    """Log in to PROVIDER (default: the default provider) and store account and password.

    The password is asked for, never taken from the command line, where others could see it. It is
    tested before it is stored, in the keyring or, without one, in a file that only you can read.
    For a service with a device code (OAuth 2), the code to enter in a browser is shown here.
    One-time codes are asked for here and never stored.
    """
    overrides = Overrides(url=url, allow_http=allow_http or None)
    known = load_for_commands(config)
    # A URL alone names another service than the default provider's.
    provider = provider or (ENVIRONMENT_PROVIDER if url else provider_to_log_in(known))
    settings = resolve_settings(provider, known, overrides, environ_without_users())
    if cookie:
        base = settings.endpoint.url
        given = ask_for(("cookie",), None, password_stdin, settings.recipe)
        asyncio.run(_keep(settings, given["cookie"]))
        click.echo(f"Stored the session of {base}; `berlin check {provider}` tests it.")
        return
    click.echo(sign_in(settings, account, password_stdin, allow_http).store())


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@config_option
def logout(provider: str | None, config: Path | None) -> None:
    """Delete the login of PROVIDER (default: the default provider), and its tokens."""
    settings = load_for_commands(config)
    provider = provider or provider_to_log_in(settings)
    example = resolve_recipe(find_provider(provider, settings).recipe).endpoint.url
    given = Overrides(last_url=example)
    mine = resolve_settings(provider, settings, given, environ_without_users())
    tokens = forget_tokens(mine, settings)
    if login_store().delete(provider):
        click.echo(f"Deleted the login of {provider}.")
    elif tokens:
        click.echo(f"Deleted the tokens of {provider}.")
    else:
        click.echo(f"There is no stored login of {provider}.")


async def _keep(settings: Settings, cookie: str) -> None:
    async with Berlin.from_settings(settings) as provider:
        await provider.use_session(cookie)
