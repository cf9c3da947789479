"""The command `berlin chat -m` against services that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

from support.cli import Cli

from .conftest import KEY
from .support.gradio_app import ACCOUNT, PASSWORD


async def test_berlin_chat_asks_gradio(tmp_path: Path, gradio_url: str) -> None:
    """A login, a submit and a cumulative stream behind one option."""
    cli = Cli(tmp_path).configure(
        f'[providers.lab]\nrecipe = "gradio"\nurl = "{gradio_url}"\n'
        f'account = "{ACCOUNT}"\npassword = "{PASSWORD}"\n'
    )
    said = await cli.run("chat", "-m", "lab", "Hello from the terminal")
    assert (said.code, said.err) == (0, "")
    assert said.out.strip() == "Turn 1: Hello from the terminal"


async def test_berlin_chat_asks_llama_cpp_with_a_key(tmp_path: Path, llama_url: str) -> None:
    """An inference server with an API key; its words are random, so their form is checked."""
    recipe = 'schema = 1\nname = "tiny"\ndescription = "with a key"\nextends = "llama-cpp"\n'
    recipe += '[auth]\nflow = "api-key"\n'
    cli = Cli(tmp_path).configure(
        f'[providers.tiny]\nrecipe = "tiny.toml"\nurl = "{llama_url}/v1"\napi_key = "{KEY}"\n'
    )
    (cli.config.parent / "tiny.toml").write_text(recipe)
    said = await cli.run("chat", "-m", "tiny", "-o", "max_tokens", "5", "Hello")
    assert (said.code, said.err) == (0, "")
    wrong = cli.config.read_text().replace(KEY, "wrong")
    cli.configure(wrong)
    refused = await cli.run("chat", "-m", "tiny", "Hello")
    assert refused.code == 3
    assert "wrong" not in refused.err
