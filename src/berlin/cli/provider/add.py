"""`berlin add` and `berlin remove`: a service from its address to a first answer."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from contextlib import ExitStack, aclosing
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from berlin.cli.options import complete_provider, config_option, load_for_commands, login_options
from berlin.cli.provider.choice import Choice, choose, copy_beside, new_name
from berlin.cli.provider.editing import Value, remove_provider, set_provider
from berlin.cli.provider.signing_in import (
    SignedIn,
    forget_if_stopped,
    forget_tokens,
    list_models,
    sign_in,
    try_credentials,
)
from berlin.cli.terminal import harmless, is_interactive, say, tell, warn
from berlin.client import Berlin
from berlin.config import (
    Overrides,
    ProviderConfig,
    Settings,
    config_path,
    default_provider,
    login_store,
    settings_of,
)
from berlin.errors import AuthenticationError, BerlinError, TokenStoreError
from berlin.types import Timeouts, is_loopback, nearest

HELLO = "Hello"
SHOWN_MODELS = 30
HELLO_TIMEOUTS = Timeouts(connect=10, first_event=60, idle=60, total=120)


@click.command()
@click.argument("target", metavar="URL|RECIPE")
@click.option("--name", help="The provider's name (default: the recipe's).")
@click.option("--recipe", help="The recipe to use at URL, instead of detecting it.")
@click.option("--url", help="The URL of the service, for a RECIPE.")
@login_options
@click.option("-m", "--model", help="The default model; asked for if missing.")
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
    recipe_path = str(choice.file.resolve()) if choice.file else choice.recipe
    mine = ProviderConfig(recipe=recipe_path, url=choice.url, allow_http=allow_http)
    settings = settings_of(named, mine, known, Overrides())
    path = config or config_path()
    # The only provider is the default without saying so; with a second one, it has to be said.
    default = default_provider(known) or named
    with ExitStack() as undo:  # nothing is kept unless the last question is answered
        forget_if_stopped(settings, known, undo)
        signed_in = _log_in(settings, choice, account, password_stdin)
        chosen = model or choice.model or choose_model(signed_in.settings)
        values = _values(choice, signed_in.settings, chosen, allow_http)
        if choice.file is not None:
            copy_beside(choice.file, path, undo)
        if login_store().load_recent(named) is None:
            undo.callback(login_store().delete, named)
        say(signed_in.store())
        set_provider(path, named, values, default if default in (named, *known.providers) else None)
        undo.pop_all()
    say(f"Added {named} to {path}.")
    if not no_hello:
        asyncio.run(_hello(msgspec.structs.replace(signed_in.settings, model=chosen)))
    say(_next(named, config, known.server.url, is_default=default == named))


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
    try:
        last = Overrides(last_url="http://127.0.0.1")
        forget_tokens(settings_of(name, mine, known, last), known)
    except TokenStoreError:
        raise
    except BerlinError as error:  # whatever is wrong with the provider, it can be removed
        warn(error.message)
    login_store().delete(name)
    remove_provider(path, name)
    click.echo(f"Removed {name} from {path}, with its login.")
    rest = [other for other in known.providers if other != name]
    if known.default == name and len(rest) > 1:
        click.echo(f"It was the default; set another there, such as: default = {rest[0]!r}")


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


def _log_in(settings: Settings, choice: Choice, account: str | None, from_stdin: bool) -> SignedIn:
    """Use credentials that are already known, unless they are refused; else ask for them."""
    found = settings.credentials
    if found is not None and found.values() and account is None and not from_stdin:
        try:
            try_credentials(settings, found)
            return SignedIn(settings, f"Uses the credentials from: {found.source}.")
        except AuthenticationError as error:
            from_file = found.source in ("environment", "configuration")
            said = f"the credentials from {found.source} are refused: {error.message}"
            if from_file or not is_interactive():
                raise AuthenticationError(said) from error
            tell(f"{said}")
    if settings.hint:
        tell(f"{settings.hint}")
    allow_http = settings.endpoint.allow_http
    return sign_in(settings, account, from_stdin, allow_http, choice.login)


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
    say(f"> {HELLO}")
    async with Berlin.from_settings(settings) as provider:
        pieces = provider.text(HELLO, timeout=HELLO_TIMEOUTS)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    click.echo(harmless(piece), nl=False)
        except BerlinError:
            name = settings.name
            hint = f"{name} stays in the configuration: try `berlin check {name}` later, or "
            say(f"{hint}`berlin remove {name}`.")
            raise
    click.echo()


def _next(name: str, config: Path | None, url: str, *, is_default: bool) -> str:
    """Return the commands to go on with, each a line that can be pasted into a shell."""
    # The commands on the path may be missing, or those of another installation.
    mine = shutil.which("python") == str(Path(sys.executable).with_name("python"))
    python = "python" if mine else shlex.quote(sys.executable)
    berlin = "berlin" if shutil.which("berlin") else f"{python} -m berlin"
    place = f" --config {shlex.quote(str(config.resolve()))}" if config else ""
    argument = f", config={str(config.resolve())!r}" if config else ""
    chosen = "" if is_default else f" -m {shlex.quote(name)}"
    program = (
        f"from berlin import Berlin; print(Berlin('{name}'{argument}).ask_sync('{HELLO}').text)"
    )
    return (
        "\nNext:\n"
        f"  {berlin} chat{chosen}{place}\n"
        f'  {python} -c "{program}"\n'
        f"  {berlin} serve{place}\n"
        f"The last one serves the model {name} at {url}/v1."
    )


def choose_model(settings: Settings) -> str:
    """Return the model that is asked by default; `""` leaves it to the recipe."""
    described = settings.recipe.models
    try:
        names = asyncio.run(list_models(settings))
    except BerlinError as error:
        tell(f"its models cannot be listed: {error.message}")
        names = described.list
    default = described.default if described.default in names else ""
    if not names and not described.default and settings.recipe.names_model and is_interactive():
        path = settings.recipe.chat.path or ""
        where = f" ({{model}} in {path})" if "{model}" in path else ""
        only: str = click.prompt(f"Model{where}", err=True)
        return only.strip()
    if not names or (len(names) == 1 and default):
        return ""
    if len(names) == 1 or not is_interactive():
        return default or names[0]
    shown = names[:SHOWN_MODELS]
    for n, name in enumerate(shown, 1):
        say(f"  {n:>2}  {name}")
    if len(names) > len(shown):
        say(f"      and {len(names) - len(shown)} more")
    while True:
        typed: str = click.prompt("Model (number or name)", default=default or names[0], err=True)
        if typed.isdecimal() and 0 < int(typed) <= len(shown):
            return shown[int(typed) - 1]
        if typed in names or _is_meant(typed, names):
            return typed


def _is_meant(typed: str, names: tuple[str, ...]) -> bool:
    """Ask whether a model that the service does not list is meant: services have more of them."""
    if typed.isdecimal() or " " in typed:
        say(f"There is no model {typed[:80]!r} in the list.")
        return False
    near = nearest(typed, names)
    hint = f"; did you mean {near}?" if near else "."
    say(f"{typed[:80]} is not in the list{hint}")
    return click.confirm(f"Use {typed[:80]} anyway?", default=False, err=True)
