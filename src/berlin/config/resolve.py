"""Resolves the settings of one provider from arguments, environment, file and stored logins."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping

import msgspec

from berlin.auth.credentials import NAMES, SECRET_NAMES, Credentials
from berlin.auth.secret_sources import SecretSource
from berlin.auth.tokens.shared import SharedTokens
from berlin.config.credentials import StoredCredentials, choose_credentials
from berlin.config.providers import ENVIRONMENT_PROVIDER, find_provider, recipe_of
from berlin.config.references import resolve_secret, resolve_value
from berlin.config.schema import Config, ConversationsConfig, ProviderConfig
from berlin.config.tables.per_user import is_per_user
from berlin.config.tokens import open_tokens
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import Recipe
from berlin.types import Endpoint, Secret, Timeouts
from berlin.types.secret import hides_arguments


class Settings(msgspec.Struct, frozen=True):
    """Everything one provider needs, from whichever source.

    Attributes:
        credentials: the credentials; `None` if none were found.
        model: the model to use when a request names none; `""` leaves it to the recipe.
        tokens: where tokens are kept; `None` keeps them in this process.
        conversations: where the heads of conversations are kept.
        hint: why credentials in the environment are not used; `""` if there are none such.
    """

    name: str
    recipe: Recipe
    endpoint: Endpoint
    credentials: Credentials | None
    timeouts: Timeouts
    model: str = ""
    tokens: SharedTokens | None = None
    conversations: ConversationsConfig = ConversationsConfig()
    hint: str = ""

    @property
    def key(self) -> Hashable:
        """The key that distinguishes one provider from another."""
        who = msgspec.structs.replace(self.credentials, source="") if self.credentials else None
        where = (self.name, self.recipe.name, self.recipe.tools, self.endpoint, self.tokens)
        return (*where, who, self.timeouts, self.model, self.conversations)


class Overrides(msgspec.Struct, frozen=True):
    """Values given as arguments; they take precedence over everything else.

    Attributes:
        last_url: the URL to use when no source has one.
    """

    url: str | None = None
    account: str | None = None
    password: str | Secret | None = None
    api_key: str | Secret | None = None
    client_id: str | None = None
    client_secret: str | Secret | None = None
    refresh_token: str | Secret | None = None
    private_key: str | Secret | None = None
    assertion: str | Secret | None = None
    totp_seed: str | Secret | None = None
    proxy: str | Secret | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    allow_http: bool | None = None
    headers: Mapping[str, str] | None = None
    timeouts: Timeouts | None = None
    model: str | None = None
    last_url: str | None = None

    def __post_init__(self) -> None:
        for name in (*SECRET_NAMES, "proxy"):
            value = getattr(self, name)
            if isinstance(value, str):
                msgspec.structs.force_setattr(self, name, Secret(value))


@hides_arguments
def resolve_settings(
    name: str,
    config: Config,
    given: Overrides = Overrides(),  # noqa: B008  # frozen
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return a provider's settings: from arguments, environment, file, stored login, in this order.

    Account and password always come from the same source.

    Raises:
        ConfigurationError: if the provider is unknown, or one of its values is invalid.
    """
    return settings_of(name, find_provider(name, config, environ), config, given, environ)


@hides_arguments
def settings_of(
    name: str,
    mine: ProviderConfig,
    config: Config,
    given: Overrides,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings of a provider from its table; see `resolve_settings`."""
    recipe = recipe_of(mine)
    stored = StoredCredentials(name)
    endpoint = _endpoint(name, mine, recipe, given, stored, environ)
    flow = recipe.auth.flow()
    sources = (
        ("arguments", _named(given)),
        ("environment", _of_environment_provider(name, environ)),
        ("configuration", {} if is_per_user(mine) else _named(mine, name, environ)),
        # It is set for all programs on this machine, so settings for this provider take precedence.
        ("environment", _of_vendor(recipe, endpoint.url, environ)),
    )
    needs = flow.needs if flow is not None else ()
    credentials = None
    if not is_per_user(mine):  # otherwise they are those of each user
        credentials = choose_credentials(needs, sources, stored.credentials(endpoint.url))
    if credentials is None and not recipe.needs:
        credentials = Credentials(source="nothing needed")
    timeouts = given.timeouts or mine.timeouts or recipe.endpoint.timeouts
    tokens = open_tokens(config.tokens, environ)
    model = given.model or mine.default_model
    return Settings(
        *(name, recipe, endpoint, credentials, timeouts, model, tokens, config.conversations),
        hint=_hint(recipe, endpoint.url, environ),
    )


def _endpoint(
    name: str,
    mine: ProviderConfig,
    recipe: Recipe,
    given: Overrides,
    stored: StoredCredentials,
    environ: Mapping[str, str],
) -> Endpoint:
    described = recipe.endpoint
    env = environ if name == ENVIRONMENT_PROVIDER else {}
    url = given.url or env.get("BERLIN_URL") or mine.url or stored.url()
    if not url and not described.example:
        url = described.url
    url = url or given.last_url
    if not url:
        variable = "in BERLIN_URL, " if name == ENVIRONMENT_PROVIDER else ""
        raise ConfigurationError(
            f"{name} needs a URL, which its recipe does not have: give it as url=…, {variable}"
            f"as url in [providers.{name}], or with `berlin login {name} --url https://…`"
        )
    allow_http = given.allow_http
    if allow_http is None:
        said = env.get("BERLIN_ALLOW_HTTP", "") in ("1", "true", "yes")
        allow_http = mine.allow_http or described.allow_http or said or stored.allows_http(url)
    return Endpoint.of(
        url,
        proxy=given.proxy
        or env.get("BERLIN_PROXY")
        or resolve_value(mine.proxy, f"providers.{name}.proxy", environ)
        or described.proxy,
        ca_file=given.ca_file or env.get("BERLIN_CA_FILE") or mine.ca_file or described.ca_file,
        allow_http=allow_http,
        headers={**described.headers, **(given.headers or {})},
        client_cert=given.client_cert or mine.client_cert or described.client_cert,
        client_key=given.client_key or mine.client_key or described.client_key,
        hosts=described.hosts,
        origin=described.origin,
    )


def _of_environment_provider(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    if name != ENVIRONMENT_PROVIDER:
        return {}
    return {n: environ[v] for n in NAMES if environ.get(v := f"BERLIN_{n.upper()}")}


def _of_vendor(recipe: Recipe, url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the credentials in the variables that the recipe names.

    Such variables (`OPENAI_API_KEY`) are for the vendor's own address, or for the one in the
    matching variable (`OPENAI_BASE_URL`, set to send programs to a gateway): the key of one is
    never sent to the other.
    """
    meant_for = _variable(recipe, "url", environ) or recipe.endpoint.url
    if recipe.endpoint.example or meant_for.rstrip("/") != url:
        return {}
    return {n: value for n in NAMES if (value := _variable(recipe, n, environ))}


def _hint(recipe: Recipe, url: str, environ: Mapping[str, str]) -> str:
    """Return why the vendor's variables do not count here: they are for another address."""
    elsewhere = (_variable(recipe, "url", environ) or url).rstrip("/")
    if elsewhere == url:
        return ""
    variable = recipe.environment["url"]
    return (
        f"{variable} is set, so the key in the environment is for {elsewhere}; to use that "
        f"service, run: berlin add {recipe.name} --url {elsewhere}"
    )


def _variable(recipe: Recipe, setting: str, environ: Mapping[str, str]) -> str | None:
    return environ.get(recipe.environment.get(setting, "")) or None


def _named(
    place: Overrides | ProviderConfig, name: str = "", environ: Mapping[str, str] = os.environ
) -> dict[str, str | SecretSource]:
    """Return the credentials from one source, by name."""
    found: dict[str, str | SecretSource] = {}
    for key in NAMES:
        value = getattr(place, key, None)
        if isinstance(value, Secret):
            value = value.reveal()
        value = resolve_secret(value, f"providers.{name}.{key}", environ)
        if value is not None:
            found[key] = value
    return found
