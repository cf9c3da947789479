"""Credentials in the variables that users of a service have set anyway."""

from __future__ import annotations

import pytest

from berlin.config import Config, Overrides, ProviderConfig, load_config, resolve_settings
from berlin.recipes.recipe import load_recipe, parse_recipe, recipe_names

KEY = {"OPENAI_API_KEY": "sk-of-the-environment"}


def key_of(name: str, config: Config, environ: dict[str, str], **given: str) -> str | None:
    found = resolve_settings(name, config, Overrides(**given), environ).credentials
    return found.api_key.reveal() if found is not None else None


def test_a_shipped_recipe_takes_the_key_of_its_variable() -> None:
    """`OPENAI_API_KEY` is enough for `-m openai`, without any file."""
    assert key_of("openai", load_config(), KEY) == KEY["OPENAI_API_KEY"]
    assert key_of("openai", load_config(), KEY, api_key="given") == "given"
    assert key_of("anthropic", load_config(), KEY) is None


def test_a_configured_provider_takes_it_too() -> None:
    """A table with that recipe and the vendor's address uses the variable; its own key counts."""
    config = Config(
        providers={
            "work": ProviderConfig(recipe="openai"),
            "own": ProviderConfig(recipe="openai", api_key="own"),
        }
    )
    assert key_of("work", config, KEY) == KEY["OPENAI_API_KEY"]
    assert key_of("own", config, KEY) == "own"
    assert key_of("own", config, {}) == "own"


def test_a_key_never_goes_to_another_address() -> None:
    """The key of the environment is for the vendor, or for the address beside it, and no other."""
    moved = Config(providers={"mine": ProviderConfig(recipe="openai", url="https://mine.example")})
    assert key_of("mine", moved, KEY) is None
    there = {**KEY, "OPENAI_BASE_URL": "https://mine.example/"}
    assert key_of("mine", moved, there) == KEY["OPENAI_API_KEY"]
    assert key_of("openai", Config(), there) is None
    assert key_of("openai", Config(), KEY, url="https://mine.example") is None


def test_variables_are_not_taken_over_by_another_recipe() -> None:
    """A recipe that extends a shipped one has another address, and none of its variables."""
    text = 'schema = 1\nname = "mine"\ndescription = "-"\nextends = "openai"\n'
    assert parse_recipe(text, "mine.toml").environment == {}
    azure = parse_recipe(text.replace("openai", "azure-openai"), "mine.toml")
    assert azure.endpoint.example
    own = text.replace("openai", "azure-openai") + '[endpoint]\nurl = "https://mine.example"\n'
    assert not parse_recipe(own, "mine.toml").endpoint.example


@pytest.mark.parametrize("name", recipe_names())
def test_each_recipe_with_a_key_names_a_variable(name: str) -> None:
    """The recipe of each vendor with keys says in which variable its users keep it."""
    recipe = load_recipe(name)
    flow = recipe.auth.flow()
    its_own = recipe.endpoint.url.startswith("https://") and not recipe.endpoint.example
    if its_own and flow is not None and "api_key" in flow.needs:
        assert recipe.environment["api_key"].isupper()
