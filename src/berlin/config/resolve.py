"""From arguments, environment, file and stored logins to what one provider needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from berlin.auth.credentials import CLIENT_NAMES, NAMES, USER_NAMES, Credentials
from berlin.auth.tokens.login_store import LoginStore, StoredLogin
from berlin.auth.tokens.shared import SharedTokens
from berlin.config.paths import config_path, data_path
from berlin.config.schema import BUILT_IN, Config, ProviderConfig
from berlin.config.tokens import open_tokens, resolve_value
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import Recipe, load_recipe, parse_recipe
from berlin.types import Endpoint, Secret, Timeouts, is_loopback

ENVIRONMENT_PROVIDER = "berlin"
"""The provider that `BERLIN_URL`, `BERLIN_ACCOUNT` … describe."""


class Settings(msgspec.Struct, frozen=True):
    """All that one provider needs, from wherever it came.

    Attributes:
        name: the provider's name.
        recipe: the recipe that it follows.
        endpoint: where it is.
        credentials: what to log in with; `None` if nothing was found.
        timeouts: its limits.
        model: the model to ask when nobody names one; `""` leaves it to the recipe.
        tokens: where tokens are kept; `None` keeps them in this process.
    """

    name: str
    recipe: Recipe
    endpoint: Endpoint
    credentials: Credentials | None
    timeouts: Timeouts
    model: str = ""
    tokens: SharedTokens | None = None

    @property
    def key(self) -> Hashable:
        """What tells one provider from another."""
        who = msgspec.structs.replace(self.credentials, source="") if self.credentials else None
        where = (self.name, self.recipe.name, self.endpoint, self.tokens)
        return (*where, who, self.timeouts, self.model)


class Overrides(msgspec.Struct, frozen=True):
    """What a caller gives as arguments; it goes before everything else."""

    url: str | None = None
    account: str | None = None
    password: str | Secret | None = None
    api_key: str | Secret | None = None
    proxy: str | Secret | None = None
    ca_file: str | None = None
    allow_http: bool | None = None
    timeouts: Timeouts | None = None


def default_provider(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the provider to ask when none is named, or `None` if nothing is configured."""
    if config.default is not None:
        return config.default
    if len(config.providers) == 1:
        return next(iter(config.providers))
    if ENVIRONMENT_PROVIDER in config.providers:
        return ENVIRONMENT_PROVIDER
    named = any(environ.get(name) for name in ("BERLIN_URL", "BERLIN_ACCOUNT", "BERLIN_PASSWORD"))
    if named or login_store().load_recent(ENVIRONMENT_PROVIDER) is not None:
        return ENVIRONMENT_PROVIDER
    return None


def split_model(model: str, config: Config, default: str) -> tuple[str, str]:
    """Return the provider that `provider:model` names, and its own name of the model.

    It is split at the first colon. What begins with no provider's name goes whole to the default
    provider: many services have colons in their models' names.
    """
    name, _, rest = model.partition(":")
    return (name, rest) if name in (*config.providers, *BUILT_IN) else (default, model)


def login_store() -> LoginStore:
    """Return the place where `berlin login` keeps what it was told."""
    return LoginStore(data_path("logins.json"))


def resolve_recipe(recipe: str) -> Recipe:
    """Return a recipe by its name, or from the file that a path ending in `.toml` names.

    Raises:
        ConfigurationError: if there is none, or it is wrong.
    """
    if not recipe.endswith(".toml"):
        return load_recipe(recipe)
    path = Path(recipe)
    try:
        parsed = parse_recipe(path.read_text("utf-8"), recipe)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the recipe {recipe} cannot be read: {error}") from error
    # Files that it names stand beside it, wherever the program runs.
    files = {
        name: str(path.parent / file)
        for name in ("ca_file", "client_cert", "client_key")
        if (file := getattr(parsed.endpoint, name)) is not None
    }
    endpoint = msgspec.structs.replace(parsed.endpoint, **files)
    return msgspec.structs.replace(parsed, endpoint=endpoint)


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
    recipe = resolve_recipe(mine.recipe)
    described = recipe.endpoint
    env = environ if name == ENVIRONMENT_PROVIDER else {}
    stored = _Stored(name)
    url = given.url or env.get("BERLIN_URL") or mine.url or stored.url() or described.url
    allow_http = given.allow_http
    if allow_http is None:
        said = env.get("BERLIN_ALLOW_HTTP", "") in ("1", "true", "yes")
        allow_http = mine.allow_http or described.allow_http or said or stored.allows_http(url)
    endpoint = Endpoint.of(
        url,
        proxy=given.proxy
        or env.get("BERLIN_PROXY")
        or resolve_value(mine.proxy, f"providers.{name}.proxy", environ)
        or described.proxy,
        ca_file=given.ca_file or env.get("BERLIN_CA_FILE") or mine.ca_file or described.ca_file,
        allow_http=allow_http,
        headers=described.headers,
        client_cert=mine.client_cert or described.client_cert,
        client_key=mine.client_key or described.client_key,
    )
    flow = recipe.auth.flow()
    needs = flow.needs if flow is not None else ()
    sources = (
        ("arguments", _named(given)),
        ("environment", {n: env[v] for n in NAMES if env.get(v := f"BERLIN_{n.upper()}")}),
        ("configuration", _named(mine, name, environ)),
    )
    credentials = _choose_credentials(needs, sources, stored.credentials(endpoint.url))
    if credentials is None and not recipe.needs:
        credentials = Credentials(source="nothing needed")
    timeouts = given.timeouts or mine.timeouts or described.timeouts
    tokens = open_tokens(config.tokens, environ)
    return Settings(name, recipe, endpoint, credentials, timeouts, mine.model or "", tokens)


def _named(
    place: Overrides | ProviderConfig, name: str = "", environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the credentials that stand in one place, by name."""
    found: dict[str, str] = {}
    for key in NAMES:
        value = getattr(place, key, None)
        if isinstance(value, Secret):
            value = value.reveal()
        value = resolve_value(value, f"providers.{name}.{key}", environ)
        if value is not None:
            found[key] = value
    return found


def _choose_credentials(
    needs: tuple[str, ...],
    sources: Iterable[tuple[str, dict[str, str]]],
    stored: Callable[[], Credentials | None],
) -> Credentials | None:
    """Return what was found of the credentials that a flow needs.

    What belongs together comes from one place: the user's part from the first that has any of
    it, and the program's own part (OAuth 2: which client) likewise.
    """
    if not needs:
        return Credentials(source="nothing needed")
    sources = list(sources)
    values: dict[str, str] = {}
    places: list[str] = []
    for names in (USER_NAMES, CLIENT_NAMES):
        wanted = [name for name in names if name in needs]
        if not wanted and names is USER_NAMES:
            continue
        # What is not needed was not asked for at a login; a keyring is slow to ask.
        place, found = _first_place(names, wanted, sources, stored if wanted else _nothing)
        values |= found
        places += [place] if found and place not in places else []
    return Credentials.checked(" and ".join(places), **values) if values else None


def _nothing() -> None:
    """Nothing is stored."""


def _first_place(
    names: tuple[str, ...],
    wanted: list[str],
    sources: Iterable[tuple[str, dict[str, str]]],
    stored: Callable[[], Credentials | None],
) -> tuple[str, dict[str, str]]:
    for source, given in sources:
        mine = {name: value for name, value in given.items() if name in names}
        if not any(name in mine for name in wanted or names):
            continue
        lacking = [name for name in wanted if name not in mine]
        if not lacking:
            return source, mine
        kept = stored()
        if kept is not None and mine.items() <= kept.values().items():
            return kept.source, kept.values()
        raise ConfigurationError(
            f"{' and '.join(mine)} without {' and '.join(lacking)} in the {source}: give both "
            "there, or store them with `berlin login`"
        )
    kept = stored()
    if kept is None:
        return "", {}
    return kept.source, {n: v for n, v in kept.values().items() if n in names}


class _Stored:
    """The stored login of a provider, looked up only if nothing else is found."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _login(self) -> tuple[StoredLogin, str] | None:
        return login_store().load_recent(self._name)

    def url(self) -> str | None:
        return self._login[0].url if self._login else None

    def allows_http(self, url: str) -> bool:
        """Whether that was said at the login; it is not looked up where nobody has to say it."""
        if not url.startswith("http://") or is_loopback(urlsplit(url).hostname or ""):
            return False
        return self._login is not None and self._login[0].url == url and self._login[0].allow_http

    def credentials(self, url: str) -> Callable[[], Credentials | None]:
        def find() -> Credentials | None:
            if self._login is None or self._login[0].url != url:
                return None
            return self._login[0].credentials(self._login[1])

        return find
