"""Validates the tables `[models.NAME]` together: names, cycles, accounts of a pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from berlin.config.models.tables import EntryConfig
from berlin.config.names import find_model
from berlin.config.providers import offer_of, provider_names
from berlin.config.schema import Config
from berlin.errors import ConfigurationError
from berlin.types import suggest


class Route(msgspec.Struct, frozen=True):
    """The target that an entry of a model refers to.

    Attributes:
        provider: the name of the provider, or `""` if it is another model of the configuration.
        model: the provider's own name of the model (`""` for its default), or that other model.
    """

    provider: str
    model: str


def find_route(entry: EntryConfig, config: Config) -> Route:
    """Return the target of an entry: another model, an alias, or `provider[:model]`.

    Raises:
        ConfigurationError: if it refers to nothing.
    """
    name = entry.model
    if name in config.models:
        return Route("", name)
    name = config.aliases.get(name, name)
    provider, colon, model = name.partition(":")
    known = provider_names(config)
    if provider not in known or provider in config.models:
        names = (*config.models, *config.aliases, *known)
        hint = suggest(provider, names, "it must be provider:model")
        raise ConfigurationError(f"{entry.model!r} is neither a provider nor a model; {hint}")
    offer = offer_of(provider, config)
    found = find_model(offer, model if colon else "")
    if found is None and not offer.any_model:
        listed = ", ".join(offer.models)
        raise ConfigurationError(f"{provider} has no model {model!r}; it has: {listed}")
    return Route(provider, model if found is None else found or offer.default)


def check_models(
    config: Config, tell: Callable[[tuple[str, ...], str], ConfigurationError]
) -> None:
    """Check all models of a configuration.

    Args:
        tell: makes an error from a place in the file (a path of keys) and what is wrong there.

    Raises:
        ConfigurationError: if a name is unknown or taken, models form a cycle, or the accounts of a
            pool belong to different services.
    """
    for name, model in config.models.items():
        place = ("models", name, model.kind)
        taken = name in config.providers or name in config.aliases
        if taken or ":" in name or not name:
            why = "is also the name of a provider or an alias" if taken else "cannot contain ':'"
            raise tell(("models", name), f"the model's name {name!r} {why}; choose another")
        routes = []
        for entry in model.entries:
            try:
                routes.append(find_route(entry, config))
            except ConfigurationError as error:
                raise tell(place, error.message) from error
        if len(set(routes)) < len(routes):
            raise tell(place, "it names the same model twice")
        if model.kind == "pool":
            _check_pool(routes, config, partial(tell, place))
        cycle = _find_cycle(name, config, ())
        if cycle:
            raise tell(place, f"these models refer to each other in a cycle: {' → '.join(cycle)}")


def _check_pool(
    routes: list[Route], config: Config, tell: Callable[[str], ConfigurationError]
) -> None:
    tables = [config.providers.get(route.provider) for route in routes]
    if any(table is None for table in tables):
        raise tell("a pool consists of providers with accounts: name tables [providers.…]")
    if len({(table.recipe, table.url) for table in tables if table is not None}) > 1:
        raise tell("the accounts of a pool must belong to one service: the same recipe and url")
    if len({route.model for route in routes}) > 1:
        raise tell("the accounts of a pool must use the same model")


def _find_cycle(name: str, config: Config, path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the models of a cycle that starts at `name`; empty if there is none."""
    if name in path:
        return (*path[path.index(name) :], name)
    for entry in config.models[name].entries:
        if entry.model in config.models:
            cycle = _find_cycle(entry.model, config, (*path, name))
            if cycle:
                return cycle
    return ()
