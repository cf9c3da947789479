"""The documentation says what is so: help pages, links, examples, tables."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from berlin import errors
from berlin.auth.credentials import NAMES
from berlin.config import Config, ProviderConfig, ResponsesConfig, ServerConfig, TokensConfig
from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.language.toml import parse_toml
from berlin.providers.guide import GuideProvider, answer
from berlin.recipes.recipe import parse_recipe
from berlin.types import Secret, Timeouts
from berlin.workbench.draft.toml_writer import write_toml
from support.cli_help import with_help
from support.manual import ROOT, code_blocks, prose_lines, read

READMES = ("README.md", "README.ru.md")
PAGES = [
    *(ROOT / name for name in (*READMES, "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def headings(text: str) -> list[str]:
    return [line for line in prose_lines(text) if re.match(r"#{1,4} ", line)]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page as Git hosts make them from its headings."""
    titles = (heading.lstrip("#").strip().lower() for heading in headings(text))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


async def run_python(*args: str, **environment: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *args,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_the_manual_shows_the_help_that_the_commands_print() -> None:
    """docs/cli.md holds one block for each command: what `--help` prints, 80 columns wide."""
    page = read("docs/cli.md")
    assert with_help(page) == page, "run `make reference`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and a heading of it where there is an anchor."""
    for line in prose_lines(page.read_text("utf-8")):
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            assert file.is_file(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(file.read_text("utf-8")), target


RUNNABLE = [
    pytest.param(block, id=f"{name}-{n}")
    for name in (*READMES, "docs/python.md")
    for n, block in enumerate(code_blocks(read(name), "python"))
    if block.startswith("# run")
]


def test_there_are_examples_to_run() -> None:
    """Each README and the page about Python hold examples that the next test runs."""
    assert len(RUNNABLE) >= 10


@pytest.mark.parametrize("block", RUNNABLE)
async def test_an_example_runs_against_a_real_service(block: str) -> None:
    """An example that begins with `# run` ends well, prints something, and warns of nothing."""
    accounts = Accounts()
    accounts.add("alice", Secret("her password"))
    async with open_server(Gateway.of(GuideProvider()), accounts, grace_s=0) as url:
        code, out, err = await run_python(
            *("-W", "error", "-c", block),
            BERLIN_URL=url,
            BERLIN_ACCOUNT="alice",
            BERLIN_PASSWORD="her password",
        )
    assert (code, err) == (0, "")
    assert out.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_is_python(page: Path) -> None:
    """Each block of Python in the documentation can be compiled."""
    for block in code_blocks(page.read_text("utf-8"), "python"):
        compile(block, page.name, "exec")


# What makes a recipe of a part of one.
REST_OF_A_RECIPE: dict[str, Any] = {
    "schema": 1,
    "name": "part",
    "description": "-",
    "endpoint": {"url": "https://chat.example.com"},
    "auth": {"flow": "none"},
    "chat": {
        "path": "/chat",
        "json": {"prompt": "{prompt}"},
        "stream": {"framing": "ndjson", "text": "/text"},
    },
    "models": {"default": "small"},
}


def whole_recipe(part: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe that has what a part of one says, and something simple for the rest."""
    if "extends" in part:
        return {key: REST_OF_A_RECIPE[key] for key in ("schema", "name", "description")} | part
    chat = part.get("chat", {})
    rest = {} if "format" in chat else {**REST_OF_A_RECIPE["chat"]}
    if chat.keys() & {"json", "form", "multipart", "prepare"}:
        rest.pop("json", None)
    return {**REST_OF_A_RECIPE, **part, "chat": {**rest, **chat}}


KINDS = {"use", "fallback", "balance", "pool"}


def check_toml_example(block: str, source: str) -> None:
    """Take a block for what its tables say: a configuration, or a recipe or whole tables of one.

    Raises:
        ConfigurationError: if it is wrong.
    """
    there = tomllib.loads(block)
    # A recipe has a table `models`; a configuration has a table for each model.
    tables = [one for one in there.get("models", {}).values() if isinstance(one, dict)]
    routed = any(table.keys() & KINDS for table in tables)
    if there.keys() <= set(Config.__struct_fields__) and ("models" not in there or routed):
        parse_toml(block, source, Config)
        return
    parse_recipe(write_toml(whole_recipe(there)), source)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_toml_example_is_a_configuration(page: Path) -> None:
    """Each block of TOML in the documentation is a configuration or a recipe, or tables of one."""
    for block in code_blocks(page.read_text("utf-8"), "toml"):
        check_toml_example(block, page.name)


@pytest.mark.parametrize(
    "block",
    [
        '[providers.work]\nurll = "https://chat.example.com"',
        '[tokens]\nstore = "file"\non_failure = "wait"',
        '[auth]\nflow = "oauth3"',
        '[auth]\nflow = "api-key"\nattach = { header = "key", cookie = "key" }',
        '[auth]\nflow = "login"\n[[auth.steps]]\npath = "/login"\ntake = { session = "/token" }',
        '[chat]\npath = "/chat"\njson = { prompt = "{promt}" }',
        'attach = { header = "key" }',
    ],
)
def test_a_wrong_toml_example_would_be_found(block: str) -> None:
    """A mistake in an example, in a configuration or in a recipe, is not let pass."""
    with pytest.raises(ConfigurationError):
        check_toml_example(block, "page.md")


def test_the_built_in_recipe_is_shown_as_it_is() -> None:
    """docs/recipes.md shows the recipe that comes with Berlin, but for the comment at its top."""
    file = read("src/berlin/recipes/shipped/berlin.toml")
    recipe = "".join(line for line in file.splitlines(True) if not line.startswith("#"))
    assert recipe in code_blocks(read("docs/recipes.md"), "toml")


def test_the_readmes_have_the_same_headings_and_commands() -> None:
    """README.md and README.ru.md have as many headings, and commands that differ in texts only."""
    english, russian = (read(name) for name in READMES)
    assert len(headings(english)) == len(headings(russian))

    def commands(text: str) -> list[str]:
        found = "\n".join(code_blocks(text, "sh"))
        return re.sub(r'"[^"]*"', '"…"', re.sub(r"\s+# .*", "", found)).splitlines()

    assert commands(english) == commands(russian)
    assert len(commands(english)) >= 10


@pytest.mark.parametrize("name", READMES)
def test_the_readme_shows_what_the_guide_answers(name: str) -> None:
    """The answer in a README is the one that its command gives today, down to its source."""
    question = re.search(r'make chat PROMPT="(.*)"', read(name))
    assert question is not None
    (shown,) = code_blocks(read(name), "text")
    source = re.compile(r".*\n(?:Source|Источник): [^\n]*\n", re.DOTALL)
    told = source.match(answer(question[1]))
    assert told is not None
    assert shown.startswith(told[0])


def test_the_table_of_errors_is_complete_and_true() -> None:
    """docs/errors.md names each class with its retry, exit code and HTTP status."""
    rows = re.findall(
        r"^\| `(\w+)` \| .* \| (yes|no) \| (\d+) \| (\d+) \|$", read("docs/errors.md"), re.MULTILINE
    )
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    assert sorted(rows) == sorted(
        (c.__name__, "yes" if c.retryable else "no", str(c.exit_code), str(c.http_status))
        for c in classes
        if issubclass(c, BerlinError)
    )


@pytest.mark.parametrize(
    "table", [Config, ProviderConfig, TokensConfig, ServerConfig, ResponsesConfig, Timeouts]
)
def test_every_key_of_the_configuration_is_in_the_manual(table: type[msgspec.Struct]) -> None:
    """docs/configuration.md names each key that the configuration file may hold."""
    page = read("docs/configuration.md")
    keys = table.__struct_encode_fields__
    missing = [key for key in keys if not re.search(rf"[`\[]{key}[`.\]]", page)]
    assert missing == []


def test_every_environment_variable_is_in_the_manual() -> None:
    """docs/configuration.md names exactly the variables that the settings read."""
    sources = (ROOT / "src" / "berlin" / "config").glob("*.py")
    found = re.findall(r"BERLIN_[A-Z_]+", "".join(path.read_text("utf-8") for path in sources))
    # The names of credentials are put together: `BERLIN_` and the name.
    used = {*found, *(f"BERLIN_{name.upper()}" for name in NAMES)} - {"BERLIN_"}
    assert set(re.findall(r"BERLIN_[A-Z_]+", read("docs/configuration.md"))) == used
