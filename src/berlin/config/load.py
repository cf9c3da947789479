"""Reads the configuration file, and checks what only the whole of it can show."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from berlin.config.files import doubts, read_file
from berlin.config.paths import config_path
from berlin.config.schema import BUILT_IN, Config, ProviderConfig
from berlin.config.tables.base import Reference
from berlin.errors import ConfigurationError
from berlin.language.toml import find_line, parse_toml
from berlin.recipes.recipe import recipe_names
from berlin.types.secret import hides_arguments


@hides_arguments
def load_config(path: Path | None = None) -> Config:
    """Return the configuration; an empty one if there is no file at the default path.

    Raises:
        ConfigurationError: if the file is invalid, or an explicitly named one is missing.
    """
    named = path is not None or bool(os.environ.get("BERLIN_CONFIG"))
    path = path or config_path()
    try:
        text = read_file(path)
    except FileNotFoundError:
        if named:
            raise ConfigurationError(f"the configuration file {path} does not exist") from None
        return Config()
    config = parse_toml(text, str(path), Config)
    _refuse_variables(config, text, path)
    _refuse_programs_of_others(config, path)
    known = (*config.models, *config.providers, *BUILT_IN, *recipe_names())
    if config.default is not None and config.default not in known:
        raise ConfigurationError(
            f"{path}: default = {config.default!r} is neither a provider nor a model"
        )
    providers = {
        name: msgspec.structs.replace(
            provider, recipe=_place(provider.recipe, path), **_files_beside(provider, path)
        )
        for name, provider in config.providers.items()
    }
    config = msgspec.structs.replace(config, providers=providers)
    if config.models:
        from berlin.config.models.checks import check_models  # imports this module

        def tell(place: tuple[str, ...], wrong: str) -> ConfigurationError:
            return ConfigurationError(
                f"{path}, line {find_line(text, place)}: [models.{place[1]}]: {wrong}"
            )

        check_models(config, tell)
    return config


def _files_beside(provider: ProviderConfig, config: Path) -> dict[str, Reference]:
    """Return the references with file paths resolved against the configuration's folder."""
    found: dict[str, Reference] = {}
    for name in provider.__struct_fields__:
        value = getattr(provider, name)
        if isinstance(value, Reference) and value.file:
            file = str(config.parent / os.path.expanduser(value.file))
            found[name] = msgspec.structs.replace(value, file=file)
    return found


# How shells, and other programs' files, write a variable.
_VARIABLE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)\}?")
_MAY_BE_VARIABLES = ("password", "api_key", "client_secret", "refresh_token", "proxy")


def _refuse_variables(config: Config, text: str, path: Path) -> None:
    """Refuse `"$NAME"` as a secret: it would be sent to the service literally."""
    for name, provider in config.providers.items():
        for key in _MAY_BE_VARIABLES:
            value = getattr(provider, key)
            found = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
            if found:
                line = find_line(text, ("providers", name, key))
                raise ConfigurationError(
                    f"{path}, line {line}: {key} = {value!r} is literal text, not a variable; "
                    f'write {key} = {{ env = "{found[1]}" }}'
                )


def _refuse_programs_of_others(config: Config, path: Path) -> None:
    """Refuse to run a program as this user because another one has written so."""
    for name, provider in config.providers.items():
        values = [getattr(provider, field) for field in provider.__struct_fields__]
        runs = any(isinstance(value, Reference) and value.command for value in values)
        if runs and (doubt := doubts(path)):
            raise ConfigurationError(
                f"{path}: [providers.{name}] runs a program, and {doubt}; it is not used"
            )


def _place(recipe: str, config: Path) -> str:
    """Return a recipe's name, or its file's path resolved against the configuration's folder."""
    if not recipe.endswith(".toml"):
        return recipe
    if "\0" in recipe:
        raise ConfigurationError(f"{config}: the recipe {recipe!r} is not the name of a file")
    folder = config.parent.resolve()
    path = (folder / recipe).resolve()
    if not path.is_relative_to(folder):
        raise ConfigurationError(
            f"{config}: the recipe {recipe} is outside of {folder}; put it beside this file"
        )
    return str(path)
