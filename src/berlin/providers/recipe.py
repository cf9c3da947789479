"""A recipe names the three parts of a provider: endpoint, auth, format."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TypeAlias

import msgspec

from berlin import __version__
from berlin.auth.command import CommandMap
from berlin.auth.credentials import Credentials
from berlin.auth.flow import Authenticator
from berlin.auth.login import LoginMap
from berlin.auth.oauth2 import OAuth2Map
from berlin.auth.shared_tokens import SharedTokens
from berlin.auth.static import ApiKeyMap, BasicMap, NoneMap
from berlin.auth.token_source import shared_source
from berlin.auth.token_store import TokenKey
from berlin.errors import ConfigurationError
from berlin.providers.http import HttpProvider
from berlin.transport import Transport
from berlin.types import Endpoint, Timeouts
from berlin.wire.mapped import ChatMap, MappedFormat
from berlin.wire.toml import find_line, parse_toml

SCHEMA = 1
USER_AGENT = f"berlin/{__version__}"


class EndpointMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[endpoint]`: where the service is, unless the user says otherwise."""

    url: str


class ModelsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[models]`: what is asked when nobody names a model."""

    default: str


AuthMap: TypeAlias = NoneMap | ApiKeyMap | BasicMap | LoginMap | OAuth2Map | CommandMap


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service, described.

    Attributes:
        schema: version of the recipe language.
        name: the recipe's name.
        description: one line for people.
        endpoint: where.
        auth: how a token is got and used.
        chat: how requests and answers are written.
        models: which models there are.
    """

    schema: int
    name: str
    description: str
    endpoint: EndpointMap
    auth: AuthMap
    chat: ChatMap
    models: ModelsMap

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(
                f"schema {self.schema} is of another version of Berlin; this one reads {SCHEMA}"
            )

    def format(self) -> MappedFormat:
        """Return the compiled format. Raises ConfigurationError."""
        return MappedFormat(self.chat, self.models.default)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with Berlin."""
    files = resources.files("berlin.providers").joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


@cache
def load_recipe(name: str) -> Recipe:
    """Return a recipe that comes with Berlin.

    Raises:
        ConfigurationError: if there is none of that name.
    """
    if name not in recipe_names():
        raise ConfigurationError(f"no recipe {name!r}; there are: {', '.join(recipe_names())}")
    file = resources.files("berlin.providers").joinpath("recipes", f"{name}.toml")
    return parse_recipe(file.read_text("utf-8"), f"{name}.toml")


def parse_recipe(text: str, source: str) -> Recipe:
    """Return the recipe in a TOML text.

    Raises:
        ConfigurationError: with file and line, if it is not one.
    """
    recipe = parse_toml(text, source, Recipe)
    for table, build in (("chat", recipe.format), ("auth", recipe.auth.flow)):
        try:
            build()
        except ConfigurationError as error:
            line = find_line(text, (table,))
            raise ConfigurationError(f"{source}, line {line}: {error.message}") from error
    return recipe


def build_provider(
    recipe: Recipe,
    endpoint: Endpoint,
    credentials: Credentials | None,
    timeouts: Timeouts,
    shared: SharedTokens | None = None,
) -> tuple[HttpProvider, Authenticator]:
    """Return the provider that a recipe describes, and its authentication.

    Providers of one recipe, URL, account and password share one token, whatever else differs.
    """
    chat = recipe.format()
    key = TokenKey(
        recipe.name,
        endpoint.url,
        credentials.who if credentials else "",
        credentials.fingerprint() if credentials else "",
    )
    described = recipe.auth
    flow = described.flow()
    if flow is None or not flow.asks:
        shared = None  # a key or a password is no token: it is not written anywhere
    auth = Authenticator(
        flow,
        described.attach,
        credentials,
        shared_source(key, shared),
        described.rejected_statuses,
    )
    transport = Transport(endpoint, USER_AGENT)
    return HttpProvider(recipe.name, transport, auth, chat, timeouts), auth
