"""Logs in to a provider, asking for what its recipe needs, and remembers it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress

import click
import msgspec

from berlin.auth.credentials import CLIENT_NAMES, CODE, USER_NAMES, Credentials
from berlin.auth.flows.login import LoginMap
from berlin.auth.guidance import IN_WORDS
from berlin.auth.tokens.login_store import StoredLogin
from berlin.cli.person import TerminalPerson
from berlin.cli.terminal import is_interactive, tell
from berlin.client import Berlin
from berlin.config import Config, Settings, login_store, open_store
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    TokenStoreError,
    TransportError,
)
from berlin.recipes.recipe import Recipe
from berlin.recipes.recognise import recognise

TRIES = 3
_VISIBLE = ("account", "client_id")


class SignedIn(msgspec.Struct, frozen=True):
    """A login that worked, or that is not needed.

    Attributes:
        settings: the provider's settings, with the credentials.
        said: a message about it; `""` if the credentials could not be tested.
        login: what to store; `None` if there is nothing.
    """

    settings: Settings
    said: str
    login: StoredLogin | None = None

    def store(self) -> str:
        """Store the login, if there is one, and return a message."""
        if self.login is None:
            return self.said
        where = login_store().save(self.settings.name, self.login)
        if self.said:
            return f"{self.said}; stored in {where}."
        return f"Stored in {where}; `berlin check {self.settings.name}` tests it."


def sign_in(
    settings: Settings,
    account: str | None,
    from_stdin: bool,
    allow_http: bool,
    required: bool | None = None,
) -> SignedIn:
    """Ask for credentials and log in with them. They are not stored yet.

    On a terminal, credentials that are refused are asked for again.

    Args:
        settings: those of the provider; credentials are tried at their URL.
        from_stdin: whether secrets are lines of standard input.
        allow_http: whether they may travel over plain http.
        required: whether the service requires a login, if that is known.

    Raises:
        BerlinError: if the service refuses, or is a different kind of service.
        click.UsageError: if there is no terminal to ask on.
    """
    flow, base = settings.recipe.auth.flow(), settings.endpoint.url
    known = settings.credentials.values() if settings.credentials else {}
    if flow is not None and flow.needs_person and CODE not in flow.needs:
        missing = tuple(n for n in flow.needs if n in CLIENT_NAMES and n not in known)
        login = None
        if missing:
            values = ask_for(missing, account, from_stdin, settings.recipe)
            credentials = Credentials.checked("login", **known, **values)
            settings = msgspec.structs.replace(settings, credentials=credentials)
            login = StoredLogin(base, values, allow_http)
        asyncio.run(_log_in(settings))
        return SignedIn(settings, f"Logged in to {base}{'' if login else '.'}", login)
    if flow is None or not flow.needs:
        return SignedIn(settings, f"{settings.name} needs no account and no password.")
    client = {name: known[name] for name in CLIENT_NAMES if name in known}
    needs = tuple(name for name in flow.needs if name not in client)
    if settings.recipe.login_is_optional and not (
        account is not None or from_stdin or _is_wanted(needs, required)
    ):
        return SignedIn(settings, f"{settings.name} is used without a login.")
    values = {}
    for left in reversed(range(TRIES)):
        values = ask_for(needs, account, from_stdin, settings.recipe, before=values)
        credentials = Credentials.checked("login", **client, **values)
        try:
            tried = try_credentials(settings, credentials)
            break
        except AuthenticationError as error:
            if not left or from_stdin or not is_interactive():
                raise
            said = error.message.rstrip(".")
            tell(f"{said}. Try again (Ctrl-C stops).")
    values.pop(CODE, None)
    credentials = Credentials.checked("login", **client, **values)
    who = f" as {credentials.who}" if credentials.who else ""
    return SignedIn(
        msgspec.structs.replace(settings, credentials=credentials),
        f"Logged in to {base}{who}" if tried else "",
        StoredLogin(base, values, allow_http),
    )


def try_credentials(settings: Settings, credentials: Credentials) -> bool:
    """Log in with credentials, or list the models with a key; return whether that was possible.

    Raises:
        BerlinError: if the service refuses them, or is a different kind of service.
    """
    flow = settings.recipe.auth.flow()
    # In memory only, so that this is a real login and not a stored token. But a token that took a
    # one-time code is stored: the code cannot be used again.
    tokens = settings.tokens if CODE in credentials.values() else None
    settings = msgspec.structs.replace(settings, credentials=credentials, tokens=tokens)
    if flow is not None and flow.asks:
        asyncio.run(_log_in(settings))
        return True
    if settings.recipe.models.fetch is None:
        return False
    try:
        asyncio.run(list_models(settings))
    except AuthenticationError:
        raise
    except BerlinError:
        return False  # some services have a key, and no list of models
    return True


async def list_models(settings: Settings) -> tuple[str, ...]:
    """Return the models of a service. Raises BerlinError."""
    async with Berlin.from_settings(settings) as provider:
        return await provider.models()


def forget_tokens(settings: Settings, config: Config) -> int:
    """Delete the stored tokens of a provider; return how many there were. Raises BerlinError."""
    store = open_store(config.tokens, os.environ)
    try:
        return 0 if store is None else store.delete((settings.recipe.name, settings.endpoint.url))
    except OSError as error:
        raise TokenStoreError(f"the tokens cannot be deleted: {error}") from error


def forget_if_stopped(settings: Settings, config: Config, undo: ExitStack) -> None:
    """Let `undo` delete the tokens of a provider that has none yet."""
    store, service = (
        open_store(config.tokens, os.environ),
        (settings.recipe.name, settings.endpoint.url),
    )
    with suppress(OSError):  # reported where a token is stored
        if store is not None and all(record.service != service for record in store.entries()):
            undo.callback(store.delete, service)


def environ_without_users() -> dict[str, str]:
    """Return the environment without accounts and passwords, which are about to be replaced."""
    given_there = {f"BERLIN_{name.upper()}" for name in USER_NAMES}
    return {name: value for name, value in os.environ.items() if name not in given_there}


async def _log_in(settings: Settings) -> None:
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


def _is_wanted(needs: tuple[str, ...], required: bool | None) -> bool:
    """Return whether a login is used, for a service that may work without one."""
    if required is not None:
        return required
    what = "an API key" if needs == ("api_key",) else "a login"
    return is_interactive() and click.confirm(
        f"Does the service require {what}?", default=False, err=True
    )


def ask_for(
    needs: tuple[str, ...],
    account: str | None,
    from_stdin: bool,
    recipe: Recipe,
    before: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the required credentials, by name; secrets are typed without echo.

    Args:
        from_stdin: whether secrets are lines of standard input.
        recipe: the recipe of the service, for the words of the questions.
        before: what was typed before, and refused.

    Raises:
        click.UsageError: if there is no terminal to ask on.
    """
    values: dict[str, str] = {}
    account = account or os.environ.get("BERLIN_ACCOUNT")
    for name in needs:
        words = IN_WORDS.get(name, name)
        if name == "account" and account:
            values[name] = account
        elif name not in _VISIBLE and from_stdin:
            values[name] = _read_line(words)
        elif sys.stdin is None or not sys.stdin.isatty():
            ways = _ways_without_terminal(needs, recipe)
            raise click.UsageError(f"{words}: there is no terminal to ask on; use {ways}")
        else:
            label = words[0].upper() + words[1:] + (_called(recipe) if name == "account" else "")
            default = (before or {}).get(name) if name in _VISIBLE else None
            hidden = name not in _VISIBLE
            values[name] = click.prompt(label, default=default, hide_input=hidden, err=True)
    return values


def _called(recipe: Recipe) -> str:
    """Return the service's own word for an account, such as ` (email)`; `""` if unknown."""
    steps = recipe.auth.steps if isinstance(recipe.auth, LoginMap) else []
    bodies = [body for step in steps for body in (step.json, step.form) if body]
    names = [name for body in bodies for name, value in body.items() if value == "{account}"]
    return f" ({names[0]})" if names and names[0] != "account" else ""


def _ways_without_terminal(needs: tuple[str, ...], recipe: Recipe) -> str:
    variable = recipe.environment.get("api_key", "")
    if needs == ("api_key",):
        return "--password-stdin" + (f", or set {variable}" if variable else "")
    if needs == ("client_id",):
        return "client_id in the table of the provider, or set BERLIN_CLIENT_ID"
    return "--account and --password-stdin"


def _read_line(words: str) -> str:
    line = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    if not line:
        raise click.UsageError(f"standard input has no line for the {words}")
    return line
