"""`berlin add` and `berlin remove`: a service from its address to a first answer."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from berlin.cli.options import complete_provider, config_option, load_for_commands
from berlin.cli.provider.choice import Choice, choose, new_name
from berlin.cli.provider.editing import Value, remove_provider, set_provider
from berlin.cli.provider.signing_in import sign_in
from berlin.cli.terminal import harmless, is_interactive
from berlin.client import Berlin
from berlin.config import (
    Config,
    Overrides,
    ProviderConfig,
    Settings,
    config_path,
    default_provider,
    login_store,
    open_store,
    settings_of,
)
from berlin.errors import BerlinError, TokenStoreError
from berlin.types import Timeouts, is_loopback

HELLO = "Hello"
HELLO_TIMEOUTS = Timeouts(connect=10, first_event=60, idle=60, total=120)
SHOWN_MODELS = 30


@click.command()
@click.argument("target", metavar="URL|RECIPE")
@click.option("--name", help="The provider's name (default: the recipe's).")
@click.option("--recipe", help="The recipe to use at URL, instead of detecting it.")
@click.option("--url", help="The URL of the service, for a RECIPE.")
@click.option("--account", help="The account; asked for if missing.")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password (or key) from standard input."
)
@click.option("-m", "--model", help="The default model; asked for if missing.")
@click.option("--allow-http", is_flag=True, help="Allow plain http to another machine.")
@click.option("--no-hello", is_flag=True, help="Do not ask a first question.")
@config_option
def add(
    target: str,
    name: str | None,
    recipe: str | None,
    url: str | None,
    account: str | None,
    password_stdin: bool,
    model: str | None,
    allow_http: bool,
    no_hello: bool,
    config: Path | None,
) -> None:
    """Add a service: detect it, log in, choose a model, and send it `Hello`.

    \b
      berlin add https://chat.example.com
      berlin add openai
      berlin add work.toml              (a recipe of your own)

    For a URL, it first detects the service, without credentials, and says how it recognised it.
    Nothing is sent to an address that you did not name. Then it asks for the credentials that the
    service needs, tests and stores them, and writes the provider into `berlin.toml`.
    """
    known = load_for_commands(config)
    choice = choose(target, recipe, url, config)
    allow_http = _allow_http(choice.url, allow_http)
    named = new_name(choice, name, known)
    mine = ProviderConfig(recipe=_path(choice, config), url=choice.url, allow_http=allow_http)
    settings = settings_of(named, mine, known, Overrides())
    click.echo(_log_in(settings, account, password_stdin, allow_http), err=True)
    settings = settings_of(named, mine, known, Overrides())
    chosen = model or _choose_model(settings)
    path = config or config_path()
    values = _values(choice, settings, chosen, allow_http)
    set_provider(path, named, values, default=default_provider(known) is None)
    click.echo(f"Added {named} to {path}.", err=True)
    if not no_hello:
        asyncio.run(_hello(msgspec.structs.replace(settings, model=chosen)))
    click.echo(_next(named, is_default=default_provider(known) in (None, named)), err=True)


@click.command()
@click.argument("name", shell_complete=complete_provider)
@config_option
def remove(name: str, config: Path | None) -> None:
    """Remove the provider NAME from `berlin.toml`, with its stored login and tokens.

    The file of your own recipe is kept.
    """
    known = load_for_commands(config)
    mine = known.providers.get(name)
    path = config or config_path()
    if mine is None:
        listed = ", ".join(known.providers) or "none"
        raise click.UsageError(f"there is no provider {name!r} in {path}; there are: {listed}")
    _forget_tokens(name, mine, known)
    login_store().delete(name)
    remove_provider(path, name)
    click.echo(f"Removed {name} from {path}, with its login.")


def _path(choice: Choice, config: Path | None) -> str:
    if not choice.recipe.endswith(".toml"):
        return choice.recipe
    return str((config or config_path()).parent.resolve() / choice.recipe)


def _allow_http(url: str, allowed: bool) -> bool:
    """Return whether plain http is allowed; a person is asked where it matters."""
    parts = urlsplit(url)
    if parts.scheme != "http" or is_loopback(parts.hostname or "") or allowed:
        return allowed
    if not is_interactive():
        raise click.UsageError(
            f"{url} is plain http: account, password and prompts could be read on the way. "
            "Use https, or add --allow-http if you trust the network"
        )
    return click.confirm(
        f"{url} is plain http: account, password and prompts could be read on the way. Go on?",
        default=False,
        abort=True,
        err=True,
    )


def _log_in(settings: Settings, account: str | None, from_stdin: bool, allow_http: bool) -> str:
    found = settings.credentials
    if found is not None and found.values() and account is None and not from_stdin:
        return f"Uses the credentials from: {found.source}."
    return sign_in(settings, account, from_stdin, allow_http)


def _choose_model(settings: Settings) -> str:
    """Return the model that is asked by default; `""` leaves it to the recipe."""
    described = settings.recipe.models
    try:
        names = asyncio.run(_list_models(settings))
    except BerlinError as error:
        click.echo(harmless(f"berlin: its models cannot be listed: {error.message}"), err=True)
        names = described.list
    default = described.default if described.default in names else ""
    if not names or (len(names) == 1 and default):
        return ""
    if len(names) == 1 or not is_interactive():
        return default or names[0]
    shown = names[:SHOWN_MODELS]
    for n, name in enumerate(shown, 1):
        click.echo(harmless(f"  {n:>2}  {name}"), err=True)
    if len(names) > len(shown):
        click.echo(f"      and {len(names) - len(shown)} more", err=True)
    answer: str = click.prompt("Model (number or name)", default=default or names[0], err=True)
    number = int(answer) if answer.isdecimal() else 0
    return shown[number - 1] if 0 < number <= len(shown) else answer


async def _list_models(settings: Settings) -> tuple[str, ...]:
    async with Berlin.from_settings(settings) as provider:
        return await provider.models()


def _values(choice: Choice, settings: Settings, model: str, allow_http: bool) -> dict[str, Value]:
    """Return the values of the provider's table."""
    values: dict[str, Value] = {"recipe": choice.recipe}
    endpoint = choice.described.endpoint
    if endpoint.example or settings.endpoint.url != endpoint.url.rstrip("/"):
        values["url"] = settings.endpoint.url
    if allow_http:
        values["allow_http"] = True
    if model and model != choice.described.models.default:
        values["model"] = model
    variable = choice.described.environment.get("api_key", "")
    given = settings.credentials.values() if settings.credentials else {}
    if variable and given.get("api_key") and os.environ.get(variable) == given["api_key"]:
        values["api_key"] = {"env": variable}
    return values


async def _hello(settings: Settings) -> None:
    click.echo(f"> {HELLO}", err=True)
    async with Berlin.from_settings(settings) as provider:
        pieces = provider.text(HELLO, timeout=HELLO_TIMEOUTS)
        async with aclosing(pieces):
            async for piece in pieces:
                click.echo(harmless(piece), nl=False)
    click.echo()


def _next(name: str, *, is_default: bool) -> str:
    chat = "berlin chat" if is_default else f"berlin chat -m {name}"
    program = f"from berlin import Berlin; print(Berlin('{name}').ask_sync('{HELLO}').text)"
    return (
        "\nNext:\n"
        f"  {chat}\n"
        f'  python -c "{program}"\n'
        f"  berlin serve        (then the model {name} at http://127.0.0.1:4114/v1)"
    )


def _forget_tokens(name: str, mine: ProviderConfig, config: Config) -> None:
    # Whatever is wrong with the provider, it can be removed.
    try:
        settings = settings_of(name, mine, config, Overrides(last_url="http://127.0.0.1"))
        store = open_store(config.tokens, os.environ)
        if store is not None:
            store.forget(settings.recipe.name, settings.endpoint.url)
    except OSError as error:
        raise TokenStoreError(f"the tokens cannot be deleted: {error}") from error
    except BerlinError as error:
        click.echo(harmless(f"berlin: warning: {error.message}"), err=True)
