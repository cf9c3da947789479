"""Settings: the TOML file and the environment become frozen values.

With the command line, this is the only reader of the environment.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from functools import cached_property
from pathlib import Path

import msgspec

from berlin.auth.credentials import Credentials
from berlin.auth.login_store import LoginStore, StoredLogin
from berlin.errors import ConfigurationError
from berlin.providers.recipe import Recipe, load_recipe
from berlin.types import Endpoint, Secret, Timeouts
from berlin.wire.toml import parse_toml

ENVIRONMENT_PROVIDER = "berlin"
"""The provider that `BERLIN_URL`, `BERLIN_ACCOUNT` … describe."""


class FromEnvironment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A value that stands in an environment variable: `password = { env = "NAME" }`."""

    env: str


class ProviderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table `[providers.NAME]`: a recipe, and what differs from it here.

    Attributes:
        recipe: which recipe.
        url: base URL of the service.
        account: the account to log in with.
        password: its password, better as `{ env = "NAME" }`.
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


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        default: the provider that is asked when none is named.
        providers: the providers by name.
        server: the service that `berlin serve` is.
    """

    default: str | None = None
    providers: dict[str, ProviderConfig] = {}
    server: ServerConfig = ServerConfig()


class Settings(msgspec.Struct, frozen=True):
    """All that one provider needs, from wherever it came.

    Attributes:
        name: the provider's name.
        recipe: the recipe that it follows.
        endpoint: where it is.
        credentials: what to log in with; `None` if nothing was found.
        timeouts: its limits.
        model: the model to ask when nobody names one; `""` leaves it to the recipe.
    """

    name: str
    recipe: Recipe
    endpoint: Endpoint
    credentials: Credentials | None
    timeouts: Timeouts
    model: str = ""

    @property
    def key(self) -> Hashable:
        """What tells one provider from another."""
        who = self.credentials and (self.credentials.account, self.credentials.password)
        return (self.name, self.recipe.name, self.endpoint, who, self.timeouts, self.model)


class Overrides(msgspec.Struct, frozen=True):
    """What a caller gives as arguments; it goes before everything else."""

    url: str | None = None
    account: str | None = None
    password: str | Secret | None = None
    proxy: str | Secret | None = None
    ca_file: str | None = None
    allow_http: bool | None = None
    timeouts: Timeouts | None = None


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration file is, or would be."""
    given = environ.get("BERLIN_CONFIG")
    if given:
        return Path(given)
    import platformdirs  # only who has no BERLIN_CONFIG needs it

    return Path(platformdirs.user_config_dir("berlin", appauthor=False)) / "berlin.toml"


def data_path(name: str) -> Path:
    """Return where a file of ours is kept for this user."""
    import platformdirs

    return Path(platformdirs.user_data_dir("berlin", appauthor=False)) / name


def load_config(path: Path | None = None) -> Config:
    """Return the configuration; an empty one if there is no file at the usual place.

    Raises:
        ConfigurationError: if the file is wrong, or one that was named is missing.
    """
    named = path is not None or "BERLIN_CONFIG" in os.environ
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
    return config


BUILT_IN = ("berlin", "guide")
"""Providers that need no table in the file."""


def default_provider(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the provider to ask when none is named, or `None` if nothing is configured."""
    if config.default is not None:
        return config.default
    if len(config.providers) == 1:
        return next(iter(config.providers))
    if ENVIRONMENT_PROVIDER in config.providers:
        return ENVIRONMENT_PROVIDER
    named = any(environ.get(name) for name in ("BERLIN_URL", "BERLIN_ACCOUNT", "BERLIN_PASSWORD"))
    if named or login_store().load(ENVIRONMENT_PROVIDER) is not None:
        return ENVIRONMENT_PROVIDER
    return None


def login_store() -> LoginStore:
    """Return the place where `berlin login` keeps what it was told."""
    return LoginStore(data_path("logins.json"))


def resolve_settings(
    name: str,
    config: Config,
    given: Overrides = Overrides(),  # noqa: B008  # frozen
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return what a provider needs: arguments, then environment, then file, then stored login.

    Account and password are taken from one place, never one from here and one from there.

    Raises:
        ConfigurationError: if the provider is unknown, or a value of it is wrong.
    """
    mine = config.providers.get(name)
    if mine is None:
        if name != ENVIRONMENT_PROVIDER:
            known = ", ".join(sorted({*config.providers, *BUILT_IN}))
            raise ConfigurationError(
                f"no provider {name!r}; there are: {known}. "
                f"Add one as [providers.{name}] to {config_path(environ)}"
            )
        mine = ProviderConfig()
    recipe = load_recipe(mine.recipe)
    env = environ if name == ENVIRONMENT_PROVIDER else {}
    allow_http = given.allow_http
    if allow_http is None:
        allow_http = mine.allow_http or env.get("BERLIN_ALLOW_HTTP", "") in ("1", "true", "yes")
    stored = _Stored(name)
    url = given.url or env.get("BERLIN_URL") or mine.url or stored.url() or recipe.endpoint.url
    endpoint = Endpoint.of(
        url,
        proxy=given.proxy or env.get("BERLIN_PROXY") or _value(mine.proxy, "proxy", name, environ),
        ca_file=given.ca_file or env.get("BERLIN_CA_FILE") or mine.ca_file,
        allow_http=allow_http,
    )
    credentials = _find_credentials(name, endpoint.url, mine, given, env, environ, stored)
    timeouts = given.timeouts or mine.timeouts
    return Settings(name, recipe, endpoint, credentials, timeouts, mine.model or "")


def _find_credentials(
    name: str,
    url: str,
    mine: ProviderConfig,
    given: Overrides,
    env: Mapping[str, str],
    environ: Mapping[str, str],
    stored: _Stored,
) -> Credentials | None:
    if given.account is not None and given.password is None:
        kept = stored.credentials(url)
        if kept is not None and kept.account == given.account:
            return kept
        raise ConfigurationError(
            f"there is an account {given.account!r} but no password: give password=… too, "
            "or store one with `berlin login`"
        )
    places = (
        ("arguments", given.account, given.password),
        ("environment", env.get("BERLIN_ACCOUNT"), env.get("BERLIN_PASSWORD")),
        ("configuration", mine.account, _value(mine.password, "password", name, environ)),
    )
    for source, account, password in places:
        if account is not None or password is not None:
            missing = "account" if account is None else "password" if password is None else None
            if missing:
                have = "password" if missing == "account" else "account"
                raise ConfigurationError(f"the {source} has the {have} but no {missing}")
            return Credentials.of(account, password, source)
    return stored.credentials(url)


class _Stored:
    """The stored login of a provider, looked up only if nothing else is found."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _login(self) -> tuple[StoredLogin, str] | None:
        return login_store().load(self._name)

    def url(self) -> str | None:
        return self._login[0].url if self._login else None

    def credentials(self, url: str) -> Credentials | None:
        if self._login is None or self._login[0].url != url:
            return None
        return self._login[0].credentials(self._login[1])


def _value(
    value: str | FromEnvironment | None, key: str, name: str, environ: Mapping[str, str]
) -> str | None:
    if not isinstance(value, FromEnvironment):
        return value
    if value.env not in environ:
        raise ConfigurationError(
            f"providers.{name}.{key} comes from the environment variable {value.env}, "
            "which is not set"
        )
    return environ[value.env]
