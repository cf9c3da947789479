"""Known formats with what a recipe adds around them, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from berlin import errors
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import load_recipe, parse_recipe
from berlin.types import Finished, TextDelta
from berlin.workbench.explain import explain
from support.described import describe, open_provider, tell
from support.fault_server import FaultServer
from support.fault_steps import answer, stream
from support.recipes import ask, client_of, fake_and_client

SSE = b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\n'
AZURE = """
format = "openai-chat"
path = "/openai/deployments/{model}/chat/completions"
query = { api-version = "2024-10-21" }
headers = { X-Nonce = "{nonce}", X-Sign = "{sha256:{body}}" }
let = { nonce = "{random_hex:8}" }
json = { user = "{user}", deployment = "{model}", n = 1 }
omit = ["n"]
[[chat.prepare]]
path = "/sessions"
take = { session = "/id" }
[[chat.after]]
path = "/sessions/{session}"
method = "DELETE"
"""


def recipe_text(chat: str) -> str:
    """Return a recipe of a known format."""
    return describe(chat=chat).split("[chat.stream]")[0]


async def test_everything_around_a_known_format(tmp_path: Path) -> None:
    """Path, parameters, headers, members and further requests are sent as the recipe says."""
    scripts = (answer(body=b'{"id":"s 1"}'), stream(SSE), answer())
    async with (
        FaultServer(*scripts) as server,
        open_provider(tmp_path, recipe_text(AZURE), server.url) as berlin,
    ):
        assert (await tell(berlin, "Hi", model="my gpt/4")).text == "Hello"
    start, chat, end = server.requests
    assert (start.method, start.target) == ("POST", "/sessions")
    assert chat.target == "/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21"
    assert (end.method, end.target) == ("DELETE", "/sessions/s%201")
    body = json.loads(chat.body)
    assert body["deployment"] == "my gpt/4"
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert "n" not in body
    assert len(chat.headers["x-nonce"]) == 8


@pytest.mark.parametrize(
    ("chat", "target", "member"),
    [
        ('rename = { model = "engine" }', "/chat/completions", "engine"),
        ('path = "/run/{segments:{model}}"', "/run/@cf/meta/llama", "model"),
    ],
)
async def test_the_model_elsewhere(tmp_path: Path, chat: str, target: str, member: str) -> None:
    """The model goes by another name, or as several segments of the path."""
    async with (
        FaultServer(stream(SSE)) as server,
        open_provider(
            tmp_path, recipe_text(f'format = "openai-chat"\n{chat}'), server.url
        ) as berlin,
    ):
        assert (await tell(berlin, "Hi", model="@cf/meta/llama")).text == "Hello"
    [seen] = server.requests
    assert seen.target == target
    body = json.loads(seen.body)
    assert body[member] == "@cf/meta/llama"
    assert ("model" in body) == (member == "model")


@pytest.mark.parametrize("model", ["../admin", "a/../b", "a/./b"])
async def test_d07_a_model_that_would_climb(tmp_path: Path, model: str) -> None:
    """A model's name never leads out of the path, also where it may have slashes."""
    text = recipe_text('format = "openai-chat"\npath = "/run/{segments:{model}}"')
    async with (
        FaultServer(stream(SSE)) as server,
        open_provider(tmp_path, text, server.url) as berlin,
    ):
        (await tell(berlin, "Hi", model=model)).failed_with(errors.InvalidRequestError)
    assert server.requests == []


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        ('headers = { X = "{prompt}" }', "writes the messages itself"),
        ('path = "/x/{nobody}"', "unknown placeholder {nobody}"),
        ('multipart = { a = "b" }', "multipart: not with format"),
        ('path = "x/{model}"', "must begin with a slash"),
    ],
)
def test_d01_what_a_known_format_cannot_have(chat: str, said: str) -> None:
    """What a known format cannot send is a mistake of the recipe."""
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(recipe_text(f'format = "openai-chat"\n{chat}'), "mine.toml")
    assert said in caught.value.message


async def test_bedrock_signs_and_reads_binary_events() -> None:
    """The fake checks the signature of each request; the text comes as Amazon's binary events."""
    answers = ScriptedProvider([TextDelta("Hel"), TextDelta("lo é🙂"), Finished("length")])
    recipe = load_recipe("bedrock")
    async with fake_and_client(recipe, answers) as provider:
        told: Any = await ask(provider, "Hi", model="us.amazon.nova-lite-v1:0", max_tokens=3)
    assert (told.text, told.finish_reason) == ("Hello é🙂", "length")
    assert "by a signature for bedrock in us-east-1" in explain(recipe)


async def test_bedrock_with_a_wrong_key() -> None:
    """A signature by another key is refused."""
    from berlin.auth.credentials import Credentials
    from berlin.workbench.fake import open_fake

    wrong = Credentials.checked("a test", client_id="fake-client", client_secret="wrong-secret")
    recipe = load_recipe("bedrock")
    async with (
        open_fake(recipe, ScriptedProvider()) as url,
        client_of(recipe, url, wrong) as (provider, _),
    ):
        with pytest.raises(errors.AuthenticationError) as caught:
            await ask(provider, "Hi")
    assert "wrong-secret" not in caught.value.message
