"""The one way from a model's name to a provider."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from berlin.config import Config, ModelOffer, Names, ProviderConfig, Target, model_names
from berlin.errors import ConfigurationError, ModelNotFoundError

OFFERS: Mapping[str, ModelOffer] = {
    "work": ModelOffer(("big", "small", "llama:7b"), "small", {"fast": "small", "deep": "big"}),
    "lab": ModelOffer(("one",), "one", {}, any_model=False),
    "bare": ModelOffer(),
}
ALIASES = {
    "best": "work:big",
    "claude-*": "work",
    "claude-3-*": "lab",
    "gpt-*-mini": "work:x-*",
    "bare-*": "lab",
}


def resolve(name: str, default: str | None = "work") -> Target:
    return Names(OFFERS, default, ALIASES).resolve(name)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("", "work", ""),
        ("work", "work", ""),
        ("work:", "work", ""),
        ("work:small", "work", ""),
        ("work:big", "work", "big"),
        ("big", "work", "big"),
        ("small", "work", ""),
        ("llama:7b", "work", "llama:7b"),
        ("work:llama:7b", "work", "llama:7b"),
        ("lab", "lab", ""),
        ("bare:anything:at:all", "bare", "anything:at:all"),
        ("fast", "work", ""),
        ("work:deep", "work", "big"),
        ("best", "work", "big"),
    ],
)
def test_exact_names(name: str, provider: str, model: str) -> None:
    """A name is an alias, a provider, `provider:model`, or a model of the default provider."""
    assert resolve(name) == Target(provider, model)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("work:latest", Target("work")),
        ("big:latest", Target("work", "big")),
        ("work:big:latest", Target("work", "big")),
        ("best:latest", Target("work", "big")),
        ("lab:one:latest", Target("lab")),
        ("bare:other:latest", Target("bare", "other:latest")),
    ],
)
def test_latest_makes_no_difference(name: str, meant: Target) -> None:
    """The tag `:latest` behind a known name is dropped; behind an unknown one it stays."""
    assert resolve(name) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-opus", Target("work")),
        ("claude-3-5", Target("lab")),
        ("claude-", Target("work")),
        ("gpt-5-mini", Target("work", "x-5")),
        ("claude-opus:latest", Target("work")),
    ],
)
def test_aliases_with_a_wildcard(name: str, meant: Target) -> None:
    """A `*` stands for any text, also in the meaning; the longest pattern that fits counts."""
    assert resolve(name) == meant


def test_a_wildcard_hides_no_provider() -> None:
    """A provider that is named counts before an alias with a wildcard."""
    offers = {**OFFERS, "claude-work": ModelOffer()}
    names = Names(offers, "work", ALIASES)
    assert names.resolve("claude-work:x") == Target("claude-work", "x")


def test_a_wildcard_goes_before_the_models_of_the_default() -> None:
    """What a user wrote counts before what a service lists, which may change at any time."""
    offers = {**OFFERS, "work": ModelOffer(("claude-opus",))}
    assert Names(offers, "work", {"claude-*": "lab"}).resolve("claude-opus") == Target("lab")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrok", "there is no model or provider 'wrok' here; did you mean 'work'?"),
        ("work2", "did you mean 'work'? (for a model that work does not list, use 'work:work2')"),
        ("smal", "did you mean 'small'?"),
        ("lab:oen", "did you mean 'lab:one'?"),
        (
            "zzzzzz",
            "`berlin providers` lists the providers (for a model that work does not list",
        ),
        ("x" * 500, "x'"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(name: str, said: str) -> None:
    """Nothing is sent to the default provider by a guess; the error names the nearest name."""
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(name)
    assert said in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("name", "said"), [(":", "the providers"), (":odd", "use 'work:odd')")])
def test_a_colon_without_a_provider_suggests_no_second_one(name: str, said: str) -> None:
    """The hint is a name that can be used, not `work::`."""
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(name)
    assert caught.value.message.endswith(said)


def test_without_a_default_a_bare_name_is_unknown() -> None:
    """Where nothing is the default, a model needs its provider."""
    for name in ("", "big"):
        with pytest.raises(ModelNotFoundError):
            resolve(name, None)
    assert resolve("work:big", None) == Target("work", "big")


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ({"a": "b", "b": "work"}, "the alias 'a' means 'b', which is an alias too"),
        ({"a": "nobody:x"}, "the alias 'a' means 'nobody:x': no such model"),
        ({"a": "lab:two"}, "no such model"),
        ({"a-*-*": "work"}, "more than one"),
        ({"a": "work:*"}, "needs one in the alias"),
    ],
)
def test_an_alias_that_means_nothing(aliases: dict[str, str], said: str) -> None:
    """Each alias is checked as a whole, before anybody uses it."""
    with pytest.raises(ConfigurationError) as caught:
        Names(OFFERS, "work", aliases).check_aliases()
    assert said in caught.value.message


def test_all_names_are_listed() -> None:
    """The list has what a user may write, aliases with a wildcard apart."""
    names = list(Names(OFFERS, "work", ALIASES).list_all())
    assert names[:3] == ["best", "work", "work:big"]
    assert "bare" in names
    assert not any("*" in name for name in names)


def test_shipped_recipes_are_providers() -> None:
    """A shipped recipe is known by its name, with its models, without a file."""
    names = model_names(Config(), {})
    assert names.resolve("openai") == Target("openai")
    assert names.resolve("openai:gpt-5.5") == Target("openai", "gpt-5.5")
    assert names.resolve("openai:gpt-99") == Target("openai", "gpt-99")
    with pytest.raises(ModelNotFoundError, match="did you mean 'openai'"):
        names.resolve("opnai")


def test_models_of_a_configured_provider() -> None:
    """`models` lists all that may be asked of a provider; the first is its default."""
    config = Config(providers={"mine": ProviderConfig(recipe="openai", models=("a", "b"))})
    names = model_names(config, {})
    assert names.resolve("a") == Target("mine")
    assert names.resolve("mine:b") == Target("mine", "b")
    with pytest.raises(ModelNotFoundError):
        names.resolve("mine:gpt-5.5")


def test_a_model_of_another_provider_is_found_by_its_name() -> None:
    """A model that one of the other providers has is named with it, shipped recipes included."""
    with pytest.raises(ModelNotFoundError, match="did you mean 'lab:one'"):
        resolve("one")
    with pytest.raises(ModelNotFoundError, match=r"did you mean 'openai:gpt-5\.5'"):
        model_names(Config(), {}).resolve("gpt-5.5")
