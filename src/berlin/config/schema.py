"""The configuration file: TOML becomes frozen values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from berlin.config.paths import config_path
from berlin.errors import ConfigurationError
from berlin.types import Timeouts
from berlin.wire.toml import parse_toml

BUILT_IN = ("berlin", "guide")
"""Providers that need no table in the file."""


class FromEnvironment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that stands in an environment variable: `password = { env = "NAME" }`."""

    env: str


class ProviderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table `[providers.NAME]`: a recipe, and what differs from it here.

    Attributes:
        recipe: the name of a recipe, or a file `….toml` beside this one.
        url: base URL of the service.
        account: the account to log in with.
        password: its password, better as `{ env = "NAME" }`.
        api_key: for a recipe with an API key.
        client_id: for a recipe with OAuth 2.
        client_secret: for a recipe with OAuth 2.
        refresh_token: for a recipe with OAuth 2 and a refresh token from elsewhere.
        proxy: URL of a proxy.
        ca_file: PEM file with the certificates to trust.
        allow_http: whether credentials may go over plain http to another machine.
        model: the model to ask when nobody names one.
        timeouts: the four limits, in seconds.
    """

    recipe: str = "berlin"
    url: str | None = None
    account: str | None = None
    password: str | FromEnvironment | None = None
    api_key: str | FromEnvironment | None = None
    client_id: str | None = None
    client_secret: str | FromEnvironment | None = None
    refresh_token: str | FromEnvironment | None = None
    proxy: str | FromEnvironment | None = None
    ca_file: str | None = None
    allow_http: bool = False
    model: str | None = None
    timeouts: Timeouts = Timeouts()


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[server]`.

    Attributes:
        provider: what the service answers with; unless given, the default provider.
        host: address to listen on.
        port: port to listen on.
        token_lifetime_s: seconds that a token is good for.
        grace_s: seconds that open answers have to end when the service stops.
    """

    provider: str | None = None
    host: str = "127.0.0.1"
    port: int = 4114
    token_lifetime_s: float = 86_400.0
    grace_s: float = 10.0


class TokensConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[tokens]`: where tokens are kept.

    Attributes:
        store: `memory` (this process), `file` (this user, on this machine), or the URL of a
            Redis (all replicas). `None`: a file for the command line, memory for programs.
        key: what they are encrypted with; Redis needs one.
        on_failure: `login`: when the store fails, each process logs in by itself; `error`: then
            there is no new token.
    """

    store: str | FromEnvironment | None = None
    key: str | FromEnvironment | None = None
    on_failure: Literal["login", "error"] = "login"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        default: the provider that is asked when none is named.
        providers: the providers by name.
        tokens: where tokens are kept.
        server: the service that `berlin serve` is.
    """

    default: str | None = None
    providers: dict[str, ProviderConfig] = {}
    tokens: TokensConfig = TokensConfig()
    server: ServerConfig = ServerConfig()


def load_config(path: Path | None = None) -> Config:
    """Return the configuration; an empty one if there is no file at the usual place.

    Raises:
        ConfigurationError: if the file is wrong, or one that was named is missing.
    """
    named = path is not None or bool(os.environ.get("BERLIN_CONFIG"))
    path = path or config_path()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if named:
            raise ConfigurationError(f"there is no configuration file {path}") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    config = parse_toml(text, str(path), Config)
    if config.default is not None and config.default not in (*config.providers, *BUILT_IN):
        raise ConfigurationError(f"{path}: default = {config.default!r} names no provider")
    providers = {
        name: msgspec.structs.replace(provider, recipe=_place(provider.recipe, path))
        for name, provider in config.providers.items()
    }
    return msgspec.structs.replace(config, providers=providers)


def _place(recipe: str, config: Path) -> str:
    """Return a recipe's name, or where its file is: below the folder of the configuration."""
    if not recipe.endswith(".toml"):
        return recipe
    folder = config.parent.resolve()
    path = (folder / recipe).resolve()
    if not path.is_relative_to(folder):
        raise ConfigurationError(
            f"{config}: the recipe {recipe} lies outside of {folder}; put it beside this file"
        )
    return str(path)
