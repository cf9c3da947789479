"""Options shared by commands, and the configuration for the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from berlin.config import Config

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file to use instead of the user's.",
)


_F = TypeVar("_F", bound=Callable[..., Any])


def together(*options: Callable[[_F], _F]) -> Callable[[_F], _F]:
    """Return a decorator that adds several options to a command, in this order."""

    def add(command: _F) -> _F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


login_options = together(
    click.option("--account", help="The account; asked for if missing."),
    click.option(
        "--password-stdin", is_flag=True, help="Read the password (or key) from standard input."
    ),
    click.option("--allow-http", is_flag=True, help="Allow plain http to another machine."),
)


def as_typed(word: str, what: str) -> str:
    """Return an argument as UTF-8, also where the locale has no characters outside ASCII.

    Raises:
        click.UsageError: if it is not UTF-8.
    """
    try:
        word.encode()
        return word
    except UnicodeEncodeError:  # Python keeps the bytes that it could not decode
        try:
            return os.fsencode(word).decode()
        except ValueError as error:
            raise click.UsageError(f"{what} is not text in UTF-8") from error


def parse_pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """Return the options from words like `NAME=VALUE`; a value is JSON, or else text."""
    pairs: dict[str, Any] = {}
    for word in values:
        name, sign, text = word.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{word!r} is not NAME=VALUE, such as temperature=0.5")
        try:
            pairs[name] = json.loads(text)
        except ValueError:
            pairs[name] = text
    return pairs


option_option = click.option(
    "-o",
    "--option",
    "options",
    callback=parse_pairs,
    multiple=True,
    metavar="NAME=VALUE",
    help="An option for the model: -o temperature=0.5, or -o temperature 0.5",
)


def _complete_model(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the names of models that a shell may complete, without any requests."""
    from berlin.config import model_names

    return _complete(ctx, begun, lambda config: model_names(config).list_all())


def complete_provider(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the names of providers that a shell may complete."""
    from berlin.config import provider_names

    return _complete(ctx, begun, provider_names)


def _complete(
    ctx: click.Context, begun: str, names_in: Callable[[Config], Iterable[str]]
) -> list[str]:
    from berlin.config import load_config
    from berlin.errors import BerlinError

    try:
        names = names_in(load_config(ctx.params.get("config")))
        return [name for name in names if name.startswith(begun)]
    except BerlinError:
        return []


model_option = click.option(
    "-m",
    "--model",
    metavar="PROVIDER:MODEL",
    shell_complete=_complete_model,
    help="The provider, its model, or both.",
)


class JoinedOptions(click.Command):
    """A command whose option `-o` takes `NAME=VALUE` in one word, or `NAME VALUE` in two."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the two words of an option made one."""
        return super().parse_args(ctx, _joined(args))


def _joined(args: list[str]) -> list[str]:
    joined: list[str] = []
    rest = iter(args)
    for word in rest:
        joined.append(word)
        if word == "--":
            break
        if word in ("-o", "--option"):
            name = next(rest, None)
            if name is not None and "=" not in name:
                value = next(rest, None)
                name = name if value is None else f"{name}={value}"
            joined += [] if name is None else [name]
    return [*joined, *rest]


def provider_to_log_in(config: Config) -> str:
    """Return the default provider; `berlin` if there is none, as for a login with `--url`."""
    from berlin.config import ENVIRONMENT_PROVIDER, default_provider

    default = default_provider(config)
    return ENVIRONMENT_PROVIDER if default is None or default in config.models else default


def load_for_commands(path: Path | None) -> Config:
    """Return the configuration, with tokens kept in a file unless it says otherwise.

    Each command is a separate process: without a file each would log in again.
    """
    import msgspec

    from berlin.cli.secret_warnings import warn_of_changeable, warn_of_config
    from berlin.config import config_path, load_config

    config = load_config(path)
    file = path or config_path()
    warn_of_config(file)
    recipes = (p.recipe for p in config.providers.values() if p.recipe.endswith(".toml"))
    warn_of_changeable([file, *map(Path, recipes)])
    if config.tokens.store is not None:
        return config
    tokens = msgspec.structs.replace(config.tokens, store="file")
    return msgspec.structs.replace(config, tokens=tokens)
