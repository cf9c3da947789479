"""Finds providers by name: configured, built in, shipped as recipes, or installed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache

import msgspec

from berlin.config.credentials import login_store
from berlin.config.names import Names, Offer
from berlin.config.paths import config_path
from berlin.config.recipes import resolve_recipe
from berlin.config.schema import BUILT_IN, Config, ProviderConfig
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import ModelsMap, Recipe, recipe_names
from berlin.types import suggest

ENVIRONMENT_PROVIDER = "berlin"
"""The provider that `BERLIN_URL`, `BERLIN_ACCOUNT` … describe."""

GUIDE = "guide"

_GUIDE = ProviderConfig(class_="berlin.providers.guide:GuideProvider", models=())

ENTRY_POINTS = "berlin.providers"
"""The entry point group in which installed packages register providers."""


def provider_names(config: Config) -> list[str]:
    """Return the names of all available providers and models, configured ones first.

    A shipped recipe takes precedence over an installed package: no package can take over its name.
    """
    named = (*config.models, *config.providers, *BUILT_IN, *recipe_names(), *installed_providers())
    return list(dict.fromkeys(named))


@cache
def installed_providers() -> Mapping[str, str]:
    """Return the provider classes of installed packages, by name."""
    from importlib.metadata import entry_points  # with 20 modules, which few programs need

    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def find_provider(
    name: str, config: Config, environ: Mapping[str, str] = os.environ
) -> ProviderConfig:
    """Return the table of a provider; without a table, that is its shipped recipe unchanged.

    Raises:
        ConfigurationError: if there is no provider of that name.
    """
    mine = config.providers.get(name)
    if mine is not None:
        return mine
    if name in recipe_names():
        return ProviderConfig(recipe=name)
    if name == GUIDE:
        return _GUIDE
    installed = installed_providers().get(name)
    if installed is not None:
        return ProviderConfig(class_=installed)
    own = ", ".join(sorted({*config.providers, *BUILT_IN}))
    hint = suggest(name, provider_names(config), f"there are: {own}.")
    raise ConfigurationError(
        f"no provider {name[:100]!r}; {hint} Add one with `berlin add URL --name {name[:100]}`, or "
        f"as [providers.{name[:100]}] to {config_path(environ)}"
    )


def recipe_of(mine: ProviderConfig) -> Recipe:
    """Return the recipe of a provider, with the overrides of its table.

    Raises:
        ConfigurationError: if there is none, or it is invalid.
    """
    recipe = resolve_recipe(mine.recipe)
    given = {"tools": mine.tools, "tool_prompt": mine.tool_prompt}
    changes = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(recipe, **changes) if changes else recipe


def default_provider(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the provider to use when none is named, or `None` if nothing is configured."""
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


def default_of_file(config: Config, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the default provider of the file for `Berlin()`; `BERLIN_URL` takes precedence."""
    if environ.get("BERLIN_URL") or (config.default is None and len(config.providers) != 1):
        return None
    default = default_provider(config, environ)
    return None if default == ENVIRONMENT_PROVIDER else default


def provider_of_recipe(recipe: Recipe, path: str | None, config: Config) -> str | None:
    """Return the provider that uses a recipe.

    Args:
        path: where its file is; `None` for a shipped recipe, which needs no table.
    """
    wanted = recipe.name if path is None else path
    users = (name for name, mine in config.providers.items() if mine.recipe == wanted)
    itself = recipe.name if path is None and recipe.name not in config.providers else None
    return next(users, itself)


class ModelOffer(msgspec.Struct, frozen=True):
    """The models of a provider, as recipe and configuration name them; see `names.Offer`.

    Attributes:
        default: its default model; `""` if that has no name.
        aliases: its other names for models.
        any_model: whether models that are not in `models` may be requested.
        lists: whether the provider itself lists its models.
        capabilities: what it can do besides text.
        keeps_conversations: whether the service keeps conversations itself.
    """

    models: tuple[str, ...] = ()
    default: str = ""
    aliases: Mapping[str, str] = {}
    any_model: bool = True
    lists: bool = False
    capabilities: tuple[str, ...] = ()
    keeps_conversations: bool = False


def offer_of(name: str, config: Config) -> ModelOffer:
    """Return the models of a provider, without a request to it.

    Raises:
        ConfigurationError: if there is no such provider, or its recipe is invalid.
    """
    if name in config.models:
        return ModelOffer(any_model=False)
    mine = find_provider(name, config)
    recipe = recipe_of(mine) if mine.class_ is None else None
    described = recipe.models if recipe is not None else ModelsMap()
    return ModelOffer(
        described.list if mine.models is None else mine.models,
        mine.default_model or described.default,
        described.aliases,
        any_model=mine.models is None,
        lists=mine.models is None and (recipe is None or described.fetch is not None),
        capabilities=recipe.abilities if recipe is not None else (),
        keeps_conversations=recipe is not None and recipe.conversations is not None,
    )


class _Offers(Mapping[str, Offer]):
    """The offers of all providers; each is read on demand."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._names = dict.fromkeys(provider_names(config))
        self._known: dict[str, ModelOffer] = {}

    def __getitem__(self, name: str) -> ModelOffer:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = offer_of(name, self._config)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def model_names(config: Config, environ: Mapping[str, str] = os.environ) -> Names:
    """Return the names of all models in a configuration, including those of shipped recipes."""
    return Names(_Offers(config), default_provider(config, environ), config.aliases)
