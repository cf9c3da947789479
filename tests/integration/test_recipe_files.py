"""Recipes and configurations as files: what is refused, what is told, and how long it takes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType

import pytest

from berlin import errors
from berlin.config import Config, load_config, resolve_settings
from berlin.config.recipes import resolve_recipe
from berlin.language.toml import parse_toml
from berlin.recipes.recipe import parse_recipe
from support.described import ENDPOINT, HEAD, LINES, PROMPT, describe, open_provider, write_provider

GOOD = describe()


def said_of(text: str, source: str = "mine.toml") -> str:
    """Return what is said of a recipe that is wrong; it has to be said soon and briefly."""
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(text, source)
    assert type(caught.value) is errors.ConfigurationError
    assert len(caught.value.message) < 2000
    return caught.value.message


@pytest.mark.parametrize(
    ("table", "text", "said"),
    [
        ("chat", 'metod = "GET"', "unknown key 'metod' in [chat]; did you mean 'method'?"),
        ("chat", 'method = "FETCH"', "'FETCH' - at `chat.method`"),
        ("chat", "query = { a = 1 }", "Expected `str`, got `int` - at `chat.query"),
        ("chat", 'poll_s = "1"', "at `chat.poll_s`"),
        ("chat", "poll_s = 0.01", "poll_s must be from 0.05 to 60 seconds"),
        ("chat", "poll_s = 1", "poll_s needs framing"),
        ("chat", 'format = "openai"', "'openai' - at `chat.format`"),
        ("chat.messages", 'form = "list"', "'list' - at `chat.messages.form`"),
        ("chat.messages", 'roles = { usr = "x" }', "usr"),
        ("chat.messages", 'templates = { usr = "{text}" }', "usr"),
        ("chat.messages", "roles = { user = 5 }", "at `chat.messages.roles"),
        ("chat.stream", 'framing = "xml"', "'xml' - at `chat.stream.framing`"),
        ("chat.stream", 'kinds = { a = "txt" }', "'txt' - at `chat.stream.kinds"),
        ("chat.stream", 'kinds = { "..." = {} }', "at `chat.stream.kinds"),
        ("chat.stream", 'error_codes = { a = "oops" }', "'oops' - at `chat.stream.error_codes"),
        ("chat.stream", 'finish_reasons = { a = "end" }', "'end' - at `chat.stream.finish_reasons"),
        ("chat.stream", 'tool_call = { nam = "/x" }', "did you mean 'name'?"),
        ("chat.stream", 'tool_call = { name = "x" }', "'x' is not a JSON Pointer"),
        ("chat.stream", 'kind = "/k"', "kind and kinds belong together"),
        ("chat.stream", 'kinds = { a = "text" }', "kind and kinds belong together"),
        ("chat.stream", 'kind = "/t/a"\nkinds = { a = "text" }', "goes through"),
        ("chat.stream", "text = []", "text names no pointer"),
        ("chat.stream", 'text = ["/a", 5]', "at `chat.stream.text"),
        ("chat.stream", "unauthorized = [1.5]", "at `chat.stream.unauthorized"),
        ("chat.stream", 'error = "/t/deep"', "/t"),
        ("chat.prepare", 'path = "/a"\ntke = { a = "/a" }', "did you mean 'take'?"),
        ("chat.prepare", 'path = "/a"\ntake = { a = "a" }', "'a' is not a JSON Pointer"),
        (
            "chat.prepare",
            'path = "/a"\ntake = { a = {} }',
            "a place needs exactly one of pointer, header, cookie",
        ),
        ("chat.prepare", 'path = "/a"\ntake = { a = { hedder = "X" } }', "hedder"),
        ("chat.prepare", 'path = "/{b}"', "unknown placeholder {b}"),
        ("models", 'capabilities = ["speech"]', "'speech' - at `models.capabilities"),
        ("models", "list = [5]", "at `models.list"),
        ("models.fetch", 'list = "/data"', "missing required field `path`"),
        ("models.fetch", 'path = "/m"\nlist = "data"', "'data' is not a JSON Pointer"),
    ],
)
def test_d01_each_mistake_has_its_file_and_line(table: str, text: str, said: str) -> None:
    """A mistake in any table is told with file, line and field: the very line, or its table's."""
    if table == "chat":
        recipe = describe(chat=f"{PROMPT}\n{text}")
    elif table == "chat.stream":
        names = {line.split(" =")[0] for line in text.splitlines()}
        kept = [line for line in LINES.splitlines() if line.split(" =")[0] not in names]
        recipe = describe("\n".join([text, *kept]))
    else:
        head = f"[[{table}]]" if table == "chat.prepare" else f"[{table}]"
        recipe = describe(more=f"{head}\n{text}")
    message = said_of(recipe)
    assert said in message
    prefix, _, _ = message.partition(": ")
    file, _, line = prefix.partition(", line ")
    assert file == "mine.toml"
    # An error of the meaning, not of the form, is told with the table `[chat]` above it.
    wanted = text.splitlines()[-1]
    lines = recipe.splitlines()
    assert lines[int(line) - 1] in (
        wanted,
        text.splitlines()[0],
        f"[{table}]",
        f"[[{table}]]",
        "[chat]",
    )


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "{a = " * 50_000,
        "a = " + "[" * 50_000 + "]" * 50_000,
        "[" + ".".join(["a"] * 20_000) + "]",
        ".".join(["a"] * 20_000) + " = 1",
        GOOD.replace("[chat]", "[chat]\njson.deep." + ".".join(["a"] * 5_000) + " = 1\n"),
        GOOD.replace("{ prompt", "{ deep." + ".".join(["a"] * 5_000) + " = 1, prompt"),
        GOOD + "x" * 1_000_000 + " = 1",
        GOOD.replace('"/chat"', '"' + "{a}" * 100_000 + '"'),
        GOOD.replace('text = "/t"', 'text = "' + "/t" * 100_000 + '"'),
        GOOD.replace('text = "/t"', "text = [" + '"/t/0",' * 20_000 + ' "x"]'),
        GOOD.replace("tests", "\\u0000") + '[x]\ny = """\n' + "[" * 40_000 + '"""',
        "a = " + "9" * 1_000_000,
        "a = 1e" + "9" * 100_000,
        'a = "' + "\\" * 99_999,
        "\n".join(f"[a{n}]" for n in range(50_000)),
    ],
    ids=range(15),
)
def test_d02_bombs(text: str) -> None:
    """A text that nests, repeats or swells without end is refused soon, with a short message."""
    said_of(text)


def test_d06_a_pointer_of_any_length_is_bounded() -> None:
    """Pointers are no patterns: a very long one is compiled, or refused, in no time."""
    for pointer in ("/a" * 2_000, "/" + "a" * 100_000, "/" + "~0" * 50_000, "/" + "0" * 50_000):
        text = GOOD.replace('"/t"', f'["{pointer}", "/t"]')
        try:
            decoder = parse_recipe(text, "mine.toml").format().decoder()
        except errors.ConfigurationError:
            continue
        decoder.feed(b'{"a":' * 500 + b"1" + b"}" * 500 + b'\n{"t":"x"}\n')


def test_d06_a_line_of_text_that_looks_like_a_table(tmp_path: Path) -> None:
    """Where a mistake stands is found in no time, whatever stands above it."""
    swollen = 'description = """\n' + "[" * 40_000 + "\n" + "a" * 60_000 + "\n" + '"""'
    text = GOOD.replace('description = "A service of the tests"', swollen)
    assert "did you mean 'text'" in said_of(text.replace("text =", "txt ="))


def test_d02_no_yaml(tmp_path: Path) -> None:
    """A file of YAML is no configuration, whatever its name says."""
    (tmp_path / "berlin.toml").write_text("providers: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(errors.ConfigurationError, match="is not valid TOML"):
        load_config(tmp_path / "berlin.toml")


@pytest.mark.parametrize(
    "text",
    [
        '[providers.a]\nurl = "https://a.example"\n[providers.a]\nurl = "https://b.example"',
        '[providers.a]\n[providers."a"]',
        'providers.a.url = "https://a.example"\n[providers.a]',
        '[providers.a]\nurl = "https://a.example"\nurl = "https://b.example"',
        '[providers]\na = { model = "x", model = "y" }',
    ],
)
def test_d03_a_name_that_is_there_twice(text: str) -> None:
    """Two providers of one name, and a key that is there twice, are an error."""
    with pytest.raises(errors.ConfigurationError, match=r"^berlin\.toml is not valid TOML: "):
        parse_toml(text, "berlin.toml", Config)


@pytest.mark.parametrize("text", ['[chat]\npath = "/b"', 'name = "b"', "[chat.stream]", "[[chat]]"])
def test_d03_a_table_that_is_there_twice(text: str) -> None:
    """The same holds for recipes."""
    assert "is not valid TOML" in said_of(
        f'{HEAD}{ENDPOINT}[chat]\npath = "/a"\n[chat.stream]\n{text}\n[chat]\n'
    )


@pytest.mark.parametrize("member", ["password", "api_key", "proxy"])
def test_d04_a_variable_that_is_missing(member: str, tmp_path: Path) -> None:
    """A missing variable of the environment is told by its name, with the key that asks for it."""
    auth = '[auth]\nflow = "api-key"\n'
    if member == "password":
        auth = '[auth]\nflow = "basic"\n'
    more = {member: {"env": "NO_SUCH_VARIABLE"}}
    if member == "password":
        more["account"] = "ann"
    with pytest.raises(errors.ConfigurationError, match="NO_SUCH_VARIABLE") as caught:
        open_provider(tmp_path, describe(auth=auth), "http://127.0.0.1:1", **more)
    assert f"providers.tested.{member}" in caught.value.message


@pytest.mark.parametrize(
    "recipe",
    [
        "../outside.toml",
        "/etc/hosts.toml",
        "a/../../outside.toml",
        "link.toml",
        "folder/inner.toml",
    ],
)
def test_d09_a_recipe_outside_of_the_folder(recipe: str, tmp_path: Path) -> None:
    """A recipe lies below the folder of the configuration, links followed."""
    inner = tmp_path / "inner"
    (tmp_path / "elsewhere").mkdir()
    inner.mkdir()
    for outside in (tmp_path / "outside.toml", tmp_path / "elsewhere" / "inner.toml"):
        outside.write_text(GOOD)
    (inner / "link.toml").symlink_to(tmp_path / "outside.toml")
    (inner / "folder").symlink_to(tmp_path / "elsewhere")
    config = inner / "berlin.toml"
    config.write_text(f"[providers.a]\nrecipe = {json.dumps(recipe)}\n")
    with pytest.raises(errors.ConfigurationError, match="is outside of"):
        load_config(config)


def test_d09_a_recipe_below_the_folder(tmp_path: Path) -> None:
    """A folder below is fine, also by a way that leaves and comes back."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.toml").write_text(GOOD)
    config = tmp_path / "berlin.toml"
    for recipe in ("more/mine.toml", "./more/../more/mine.toml", f"{tmp_path}/more/mine.toml"):
        config.write_text(f"[providers.a]\nrecipe = {json.dumps(recipe)}\n")
        assert resolve_settings("a", load_config(config)).recipe.name == "tested"


@pytest.mark.parametrize("content", [None, b"\xff\xfe", "folder"])
def test_a_recipe_that_cannot_be_read(content: bytes | str | None, tmp_path: Path) -> None:
    """A recipe that is missing, no text, or a folder is told by its path."""
    path = tmp_path / "mine.toml"
    match content:
        case bytes():
            path.write_bytes(content)
        case str():
            path.mkdir()
    with pytest.raises(
        errors.ConfigurationError, match=r"mine\.toml (cannot be read|is not text in UTF-8)"
    ):
        resolve_recipe(str(path))


def test_d11_a_thousand_providers(tmp_path: Path) -> None:
    """A thousand providers, a hundred of them with recipes of their own, take ten times the work
    of a hundred with ten.
    """
    few, many = (calls_for_providers(tmp_path / str(count), count) for count in (100, 1_000))
    assert many <= 12 * few


def calls_for_providers(folder: Path, count: int) -> int:
    """Return how many Python functions are called to load this many providers."""
    (folder / "recipes").mkdir(parents=True)
    lines = []
    for n in range(count):
        recipe = "berlin" if n >= count // 10 else f"recipes/r{n}.toml"
        if n < count // 10:
            (folder / "recipes" / f"r{n}.toml").write_text(GOOD.replace("tested", f"r{n}"))
        lines += [f"[providers.p{n}]", f'recipe = "{recipe}"', f'url = "https://p{n}.example"']
        lines += ['account = "ann"', 'password = "pw"', f'model = "m{n}"']
    (folder / "berlin.toml").write_text("\n".join(lines))
    calls = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(note)
    try:
        config = load_config(folder / "berlin.toml")
        names = {resolve_settings(name, config).endpoint.url for name in config.providers}
    finally:
        sys.setprofile(None)
    assert len(names) == count
    return calls


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("2", "schema 2 belongs to another version of Berlin; this version reads 1"),
        ("-1", "schema -1 belongs to another version of Berlin; this version reads 1"),
        ("9223372036854775807", "belongs to another version of Berlin"),
        ('"2"', "Expected `int`, got `str` - at `schema`"),
        ("true", "Expected `int`, got `bool` - at `schema`"),
    ],
)
def test_d12_another_version(schema: str, said: str, tmp_path: Path) -> None:
    """A file of another version says so first, with file and line."""
    path = write_provider(tmp_path, GOOD.replace("schema = 1", f"schema = {schema}"))
    with pytest.raises(errors.ConfigurationError) as caught:
        resolve_settings("tested", load_config(path))
    assert f"{tmp_path}/tested.toml, line 1: " in caught.value.message
    assert said in caught.value.message


def test_d12_keys_of_a_newer_version() -> None:
    """What a newer version may have added is not told as a typing error: the version is."""
    text = GOOD.replace("schema = 1", "schema = 2") + "\n[limits]\nrequests = 5\n"
    assert "schema 2 belongs to another version of Berlin" in said_of(text)
