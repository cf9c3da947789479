"""The page about a provider of one's own is true: Python, terminal, gateway and list use it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from berlin import Berlin
from berlin.config import load_config, model_names
from berlin.config import providers as known
from berlin.errors import ConfigurationError, ModelNotFoundError, ServiceUnavailableError
from support.cli import Cli
from support.gateway import OPENAI
from support.manual import code_blocks, read
from support.serving import serving

PAGE = read("docs/own-provider.md")
MODULE = next(block for block in code_blocks(PAGE, "python") if "my_models.py" in block)
TABLE = code_blocks(PAGE, "toml")[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the module of the page, from which Python imports."""
    place = tmp_path / "modules"
    place.mkdir()
    (place / "my_models.py").write_text(MODULE, "utf-8")
    monkeypatch.syspath_prepend(str(place))
    importlib.invalidate_caches()
    yield place
    sys.modules.pop("my_models", None)


def configured(folder: Path, text: str = TABLE) -> Path:
    path = folder / "berlin.toml"
    path.write_text(text, "utf-8")
    return path


async def test_the_example_of_the_page(folder: Path) -> None:
    """The class of the page answers, in Python, by its name in the configuration."""
    berlin = Berlin("mine", config=configured(folder))
    assert (await berlin.ask("Grüße 🙂")).text == "Grüße 🙂"
    assert [piece async for piece in berlin.text("a")] == ["a"]
    assert (await berlin.conversation().ask("b")).text == "b"
    failing = configured(folder, TABLE.replace('"cat"', '"false"'))
    with pytest.raises(ServiceUnavailableError, match="false failed"):
        await Berlin("mine", config=failing).ask("c")


async def test_the_commands_know_it(folder: Path, tmp_path: Path) -> None:
    """The terminal lists it, asks it, and finds its name from a near one."""
    cli = Cli(tmp_path).configure(TABLE)
    path = str(folder)
    listed = await cli.run("providers", PYTHONPATH=path)
    row = next(line for line in listed.out.splitlines() if "mine" in line)
    assert row.split() == ["*", "mine", "-", "-", "my_models:Program", "yes"]
    asked = await cli.run("chat", "-m", "mine", "Hello", PYTHONPATH=path)
    assert (asked.code, asked.out.strip()) == (0, "Hello")
    checked = await cli.run("config", "check", PYTHONPATH=path)
    assert "mine: the class my_models:Program" in checked.out
    unknown = await cli.run("chat", "-m", "mein", "Hello", PYTHONPATH=path)
    assert unknown.code == 2
    assert "did you mean 'mine'?" in unknown.err


async def test_the_gateway_serves_it(folder: Path, tmp_path: Path) -> None:
    """Clients of the gateway ask it as any other provider, streamed and whole."""
    cli = Cli(tmp_path).configure(TABLE)
    cli.environ["PYTHONPATH"] = str(folder)
    async with serving(cli) as (_, at):
        for stream in (True, False):
            answer = await at.ask(OPENAI, model="mine", stream=stream)
            assert answer.status == 200
            assert answer.text
        assert "mine" in [m["id"] for m in (await at.get("/v1/models")).json["data"]]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('class = "nowhere:X"', "nowhere:X cannot be loaded: ModuleNotFoundError"),
        ('class = "my_models:Nothing"', "cannot be loaded: AttributeError"),
        ('class = "my_models"', 'expected "package.module:Name"'),
        ('class = "my_models:Program"', "cannot be created: TypeError: .*'command'"),
        ('class = "asyncio:Lock"', "is not a provider; derive it from ChatProvider"),
        ('class = "my_models:errors"', "is not a class"),
        (
            'class = "my_models:Program"\noptions = { command = { env = "NOT_SET" } }',
            "options.command comes from the environment variable NOT_SET, which is not set",
        ),
        ('class = "my_models:Program"\nurl = "https://a.example"', "url is for a recipe"),
        ('options = { command = "cat" }', "options are for a class"),
    ],
)
def test_mistakes_are_named(folder: Path, table: str, said: str) -> None:
    """What is wrong with a class is said with the table's name."""
    path = configured(folder, f"[providers.mine]\n{table}\n")
    with pytest.raises(ConfigurationError, match=said) as caught:
        Berlin("mine", config=path)
    assert "mine" in caught.value.message or "berlin.toml" in caught.value.message


async def test_a_secret_among_the_options(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option may be the value of an environment variable."""
    monkeypatch.setenv("MY_COMMAND", "cat")
    path = configured(folder, TABLE.replace('"cat"', '{ env = "MY_COMMAND" }'))
    assert (await Berlin("mine", config=path).ask("x")).text == "x"


async def test_an_installed_package_brings_a_provider(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry point is a provider by its name; a shipped recipe of that name goes first."""
    (folder / "my_models.py").write_text(
        MODULE.replace("command: str)", 'command: str = "cat")'), "utf-8"
    )
    info = folder / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[berlin.providers]\nmine = my_models:Program\nopenai = my_models:Program\n", "utf-8"
    )
    known.installed_providers.cache_clear()
    try:
        assert (await Berlin("mine").ask("x")).text == "x"
        assert Berlin("openai", api_key="k").url == "https://api.openai.com/v1"
        with pytest.raises(ModelNotFoundError, match="did you mean 'mine'"):
            model_names(load_config()).resolve("mien")
    finally:
        known.installed_providers.cache_clear()
