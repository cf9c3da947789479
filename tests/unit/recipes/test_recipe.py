"""Recipes: what stands in them, and how a mistake in one is told."""

from __future__ import annotations

from importlib import resources

import pytest

from berlin import errors
from berlin.auth.flows.login import LoginMap
from berlin.language.toml import MAX_TOML_CHARS
from berlin.recipes.recipe import load_recipe, parse_recipe, recipe_names

BERLIN_TOML = resources.files("berlin.recipes").joinpath("shipped", "berlin.toml").read_text()


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that holds a part."""
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


def mistake(old: str, new: str) -> tuple[str, str]:
    """Put a mistake into the Berlin recipe; return the changed text and what is said of it."""
    assert old in BERLIN_TOML
    text = BERLIN_TOML.replace(old, new, 1)
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(text, "mine.toml")
    assert type(caught.value) is errors.ConfigurationError
    return text, caught.value.message


def test_the_recipe_of_the_class() -> None:
    """The Berlin recipe says where the service is and which model is asked."""
    recipe = load_recipe("berlin")
    assert "berlin" in recipe_names()
    assert recipe.endpoint.url == "https://ai.berlin4h.top"
    assert recipe.models.default == "gpt-3.5-turbo"
    assert isinstance(recipe.auth, LoginMap)
    [step] = recipe.auth.steps
    assert (step.path, step.take, recipe.auth.attach.header) == (
        "/api/login",
        {"token": "/data/token"},
        "token",
    )
    assert load_recipe("berlin") is recipe


@pytest.mark.parametrize("name", ["", "nobody", "../berlin", "berlin.toml", "BERLIN"])
def test_a_recipe_that_is_not_there(name: str) -> None:
    """An unknown name is an error that lists the known ones; no path is followed."""
    with pytest.raises(errors.ConfigurationError) as caught:
        load_recipe(name)
    all_names = f"there are: {', '.join(recipe_names())}"
    near = "did you mean 'berlin'?"
    assert caught.value.message in [f"no recipe {name!r}; {hint}" for hint in (all_names, near)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("take = ", "tke = ", "unknown key 'tke' in [auth.steps]; did you mean 'take'?"),
        ("ends = ", "edns = ", "unknown key 'edns' in [chat.stream]; did you mean 'ends'?"),
        ("[models]", "[modles]", "unknown key 'modles' at the top level; did you mean 'models'?"),
        (
            "url = ",
            "xyz = ",
            "unknown key 'xyz' in [endpoint]; known: url, headers, proxy, ca_file, client_cert, "
            "client_key, allow_http, timeouts, example, hosts, origin",
        ),
        ('name = "berlin"', "name = 5", "Expected `str`, got `int` - at `name`"),
        (
            'path = "/api/login"',
            "path = []",
            "Expected `str`, got `array` - at `auth.steps.0.path`",
        ),
        ('flow = "login"', 'flow = "magic"', "Invalid value 'magic' - at `auth.flow`"),
        ('ends = "body"', "ends = true", "Expected `str`, got `bool` - at `chat.stream.ends`"),
        ("example = true", "origin = 1", "Expected `bool`, got `int` - at `endpoint.origin`"),
        (
            'path = "/api/login"',
            'path = "/api/login"\nbody = {}',
            "Expected `str | null`, got `object` - at `auth.steps.0.body`",
        ),
    ],
)
def test_d01_a_mistake(old: str, new: str, said: str) -> None:
    """A mistake is told with its file, its line, its place and the nearest name."""
    text, message = mistake(old, new)
    assert message == f"mine.toml, line {line_of(text, new.splitlines()[-1])}: {said}"


def test_d01_a_missing_key() -> None:
    """A missing key is told with its table, and the line where the table begins."""
    text, message = mistake('url = "https://ai.berlin4h.top"', "")
    line = line_of(text, "[endpoint]")
    assert message == (
        f"mine.toml, line {line}: Object missing required field `url` - at `endpoint`"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('text = "/content"', 'text = "content"', "'content' is not a JSON Pointer"),
        (
            'text = "/content"',
            'text = "/a"\nreasoning = "/a/b"',
            "/a/b goes through a value that is text",
        ),
        (
            '"{prompt}"',
            '"{promt}"',
            "unknown placeholder {promt} at /prompt; did you mean {prompt}?",
        ),
        ('options = "/options"', 'options = "options"', "'options' is not a JSON Pointer"),
        ('token = "/data/token"', 'token = "data.token"', "'data.token' is not a JSON Pointer"),
        ('"{password}"', '"{pasword}"', "unknown placeholder {pasword} at /password"),
    ],
)
def test_a_recipe_that_cannot_work(old: str, new: str, said: str) -> None:
    """Pointers and placeholders are checked when the recipe is read, not at the first request."""
    _, message = mistake(old, new)
    assert message.startswith("mine.toml, line ")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = ", "mine.toml is not valid TOML: Invalid value"),
        ("%YAML 1.2\n---\na: !!python/object:os.system ls", "mine.toml is not valid TOML: "),
        ("a: &a [x, x]\nb: *a", "mine.toml is not valid TOML: "),
        ("", "mine.toml, line 1: Object missing required field `schema`"),
    ],
)
def test_d02_what_is_no_toml(text: str, said: str) -> None:
    """Text that is no TOML, YAML with its tags and anchors too, is an error with its file."""
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(text, "mine.toml")
    assert caught.value.message.startswith(said)


def test_a_file_that_is_too_large() -> None:
    """A file of many megabytes is no recipe; it is not even parsed."""
    with pytest.raises(errors.ConfigurationError, match=r"^mine\.toml is too large"):
        parse_recipe("#" * (MAX_TOML_CHARS + 1), "mine.toml")
