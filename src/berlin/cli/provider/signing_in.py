"""Logs in to a provider, asking for what its recipe needs, and remembers it."""

from __future__ import annotations

import asyncio
import os

import click
import msgspec

from berlin.auth.credentials import CLIENT_NAMES, CODE, USER_NAMES, Credentials
from berlin.auth.tokens.login_store import StoredLogin
from berlin.cli.person import TerminalPerson
from berlin.cli.provider.ask import ask_for
from berlin.cli.terminal import is_interactive
from berlin.client import Berlin
from berlin.config import Settings, login_store
from berlin.errors import AuthenticationError, BerlinError, ConfigurationError, TransportError
from berlin.recipes.recognise import recognise


def sign_in(settings: Settings, account: str | None, from_stdin: bool, allow_http: bool) -> str:
    """Log in, store the credentials, and return a message about it.

    Args:
        settings: those of the provider; a password is tried at their URL before it is stored.
        account: the account, if it was given.
        from_stdin: whether secrets are lines of standard input.
        allow_http: whether they may travel over plain http.

    Raises:
        BerlinError: if the service refuses, or is a different kind of service.
        click.UsageError: if there is no terminal to ask on.
    """
    flow, base = settings.recipe.auth.flow(), settings.endpoint.url
    if flow is not None and flow.needs_person and CODE not in flow.needs:
        asyncio.run(log_in(settings))
        return f"Logged in to {base}."
    if flow is None or not flow.needs:
        return f"{settings.name} needs no account and no password."
    known = settings.credentials.values() if settings.credentials else {}
    client = {name: known[name] for name in CLIENT_NAMES if name in known}
    needs = tuple(name for name in flow.needs if name not in client)
    if settings.recipe.login_is_optional and not _has_one(needs, account, from_stdin):
        return f"{settings.name} is used without a login."
    values = ask_for(needs, account, from_stdin)
    credentials = Credentials.checked("login", **client, **values)
    if flow.asks:
        # In memory only, so that this is a real login and not a stored token. But a token that took
        # a one-time code is stored: the code cannot be used again.
        tokens = settings.tokens if values.pop(CODE, None) else None
        tried = msgspec.structs.replace(settings, credentials=credentials, tokens=tokens)
        asyncio.run(log_in(tried))
    where = login_store().save(settings.name, StoredLogin(base, values, allow_http))
    who = f" as {credentials.who}" if credentials.who else ""
    if flow.asks:
        return f"Logged in to {base}{who}; stored in {where}."
    return f"Stored in {where}; `berlin check {settings.name}` tests it."


def environ_without_users() -> dict[str, str]:
    """Return the environment without accounts and passwords, which are about to be replaced."""
    given_there = {f"BERLIN_{name.upper()}" for name in USER_NAMES}
    return {name: value for name, value in os.environ.items() if name not in given_there}


async def log_in(settings: Settings) -> None:
    """Log in to a service.

    Raises:
        BerlinError: if that fails; the message names the kind of service if it is not the recipe's.
    """
    try:
        async with Berlin.from_settings(settings) as provider:
            await provider.log_in(TerminalPerson())
    except (AuthenticationError, TransportError, ConfigurationError):
        raise
    except BerlinError as error:
        other = await _other_service(settings)
        if other is None:
            raise
        raise ConfigurationError(f"{error.message}. {other}") from error


async def _other_service(settings: Settings) -> str | None:
    """Describe the service that answers, if it is not of the recipe's kind."""
    url = settings.endpoint.url
    try:
        found = await recognise(settings.endpoint)
    except BerlinError:
        return None
    matches = found.services or found.dialects
    if not matches:
        return f"{url} answers {found.seen}. `berlin add {url}` can detect what it is"
    if any(match.recipe == settings.recipe.name for match in matches):
        return None
    kinds = " or ".join(match.recipe for match in matches)
    return f"{url} looks like {kinds}: {matches[0].proof}. Run: berlin add {url}"


def _has_one(needs: tuple[str, ...], account: str | None, from_stdin: bool) -> bool:
    """Return whether a login is used, for a service that may work without one."""
    if account is not None or from_stdin:
        return True
    what = "API key" if needs == ("api_key",) else "login"
    return is_interactive() and click.confirm(
        f"Does the service want {'an' if what[0] == 'A' else 'a'} {what}?", default=False, err=True
    )
