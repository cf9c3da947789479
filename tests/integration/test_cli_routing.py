"""Models made of several, on the command line: `berlin chat -v` and `berlin models`."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex

from support.cli import Cli
from support.fault_server import FaultServer
from support.fault_steps import answer
from support.gateway import RECIPE
from support.routing import GOOD, PROVIDER, TIMEOUTS, WORDS

DOWN = answer("503 Down", b"{}")


def configure(cli: Cli, **urls: str) -> None:
    """Write a configuration with a model of two services."""
    text = ""
    cli.configure("")
    for name, url in urls.items():
        recipe = RECIPE.format(name=name, url=f"{url}/{token_hex(6)}", format="openai-chat")
        (cli.config.parent / f"{name}.toml").write_text(recipe, "utf-8")
        text += PROVIDER.format(name=name, more="", timeouts=TIMEOUTS)
    cli.configure(
        f"default = 'smart'\n{text}\n[models.smart]\nfallback = ['bad:m1', 'good:m1']\n"
        "retry = { attempts = 2 }\n"
    )


async def test_verbose(tmp_path: Path) -> None:
    """On stderr: each attempt that failed, then who answered; stdout has the answer alone."""
    cli = Cli(tmp_path)
    async with FaultServer(DOWN) as bad, FaultServer(GOOD) as good:
        configure(cli, bad=bad.url, good=good.url)
        ended = await cli.run("chat", "-v", "Hello")
        plain = await cli.run("chat", "-m", "smart", "Hello")
    assert (ended.code, ended.out) == (0, "".join(WORDS) + "\n")
    lines = ended.err.splitlines()
    assert [line.split(" after ")[0] for line in lines[:2]] == ["berlin: bad:m1"] * 2
    assert all(line.endswith("upstream_unavailable") for line in lines[:2])
    assert lines[2].startswith("berlin: good:m1 answered, 3 attempts: ")
    assert lines[2].endswith("11 tokens in, 6 out")
    assert (plain.out, plain.err) == (ended.out, "")


async def test_models(tmp_path: Path) -> None:
    """The list has the models of providers, and those that are made of them."""
    cli = Cli(tmp_path)
    configure(cli, bad="http://127.0.0.1:1", good="http://127.0.0.1:1")
    ended = await cli.run("models", "--offline")
    assert ended.out.splitlines() == ["bad:m1  *", "good:m1  *", "smart  fallback: bad:m1, good:m1"]
    one = await cli.run("models", "smart")
    assert (one.code, one.out) == (0, "smart  fallback: bad:m1, good:m1\n")
