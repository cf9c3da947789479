"""`Berlin("work")`, `Berlin(recipe=…)`, `Berlin(url, …)`: any service, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from berlin import Berlin, ChatRequest, Started
from berlin.errors import (
    ConfigurationError,
    InvalidRequestError,
    LimitReachedError,
    ModelNotFoundError,
    RateLimitError,
)
from support.chat_service import ChatService
from support.playing import running


class Vendor:
    """A service that speaks as OpenAI does, and remembers what it was asked.

    Attributes:
        models: what it lists.
        refusals: how many chats it refuses before it answers.
        chats: the bodies of the chats.
        headers: the headers of all requests.
        listed: how often it was asked for its models.
    """

    def __init__(self) -> None:
        self.models = ["first", "second"]
        self.refusals = 0
        self.chats: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.listed = 0

    async def list_models(self, request: web.Request) -> web.Response:
        """Answer with the models."""
        self.listed += 1
        self.headers.append(dict(request.headers))
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer with the model's name."""
        self.headers.append(dict(request.headers))
        self.chats.append(await request.json())
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=429, headers={"Retry-After": "0"})
        said = {"choices": [{"index": 0, "delta": {"content": self.chats[-1]["model"]}}]}
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        text = "".join(f"data: {json.dumps(part)}\n\n" for part in (said, end))
        return web.Response(text=f"{text}data: [DONE]\n\n", content_type="text/event-stream")


@asynccontextmanager
async def vendor() -> AsyncIterator[tuple[Vendor, str]]:
    service = Vendor()
    app = web.Application()
    app.router.add_get("/v1/models", service.list_models)
    app.router.add_post("/v1/chat/completions", service.chat)
    async with running(app) as url:
        yield service, f"{url}/v1"


def configured(folder: Path, url: str, more: str = "") -> Path:
    path = folder / "berlin.toml"
    path.write_text(
        f"""
        default = "work"
        [providers.work]
        recipe = "openai"
        url = "{url}"
        api_key = "the-key"
        model = "small"
        {more}
        [aliases]
        best = "work:large"
        """,
        "utf-8",
    )
    return path


async def test_a_provider_by_its_name(tmp_path: Path) -> None:
    """A name, `provider:model` and an alias open the same provider, with their models."""
    async with vendor() as (service, url):
        config = configured(tmp_path, url)
        for name, model in (("work", "small"), ("work:deep", "deep"), ("best", "large")):
            async with Berlin(name, config=config) as berlin:
                assert (await berlin.ask("hi")).text == model
                assert (await berlin.ask("hi", model="other")).text == "other"
                assert berlin.default_model == model
                assert berlin.url == url
        assert service.headers[0]["Authorization"] == "Bearer the-key"


async def test_the_limit_of_a_provider_by_its_name(tmp_path: Path) -> None:
    """The limit of a provider's table holds without a gateway too, and each attempt counts."""
    async with vendor() as (service, url):
        limit = "limit = { requests_per_minute = 2, wait_s = 0 }"
        async with Berlin("work", config=configured(tmp_path, url, limit)) as berlin:
            service.refusals = 1
            assert (await berlin.ask("hi")).text == "small"
            with pytest.raises(LimitReachedError):
                await berlin.ask("hi")
        assert len(service.chats) == 2


async def test_a_recipe_by_its_name(tmp_path: Path) -> None:
    """A shipped recipe needs no file: its credentials, model, headers and URL are arguments."""
    async with (
        vendor() as (service, url),
        Berlin(
            recipe="openai", url=url, api_key="k", model="m", headers={"X-Team": "blue"}
        ) as berlin,
    ):
        assert (await berlin.ask("hi")).text == "m"
        assert await berlin.models() == ("first", "second")
        await berlin.check()
        assert {h["Authorization"] for h in service.headers} == {"Bearer k"}
        assert {h["X-Team"] for h in service.headers} == {"blue"}


async def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    """A recipe may be a file, wherever it is."""
    async with vendor() as (_, url):
        path = tmp_path / "mine.toml"
        path.write_text(
            f"""
            schema = 1
            name = "mine"
            description = "of a test"
            extends = "openai"
            [endpoint]
            url = "{url}"
            [models]
            default = "own"
            list = ["own", "large-2"]
            aliases = {{ large = "large-2" }}
            """,
            "utf-8",
        )
        async with Berlin(recipe=path, api_key="k") as berlin:
            assert (await berlin.ask("hi")).text == "own"
            assert (await berlin.ask("hi", model="large")).text == "large-2"
            assert (await berlin.ask("hi", model="own:latest")).text == "own"
            assert (await berlin.ask("hi", model="unlisted")).text == "unlisted"


async def test_the_first_model_is_the_default(tmp_path: Path) -> None:
    """A service without a default model is asked for the first that it lists, which is named;
    the list is read once.
    """
    async with (
        vendor() as (service, url),
        Berlin(recipe="openai-compatible", url=url, api_key="k") as berlin,
    ):
        assert berlin.default_model == ""
        assert (await berlin.ask("hi")).text == "first"
        assert berlin.default_model == "first"
        assert (await berlin.ask("hi", model="second")).text == "second"
        assert (await berlin.ask("hi")).text == "first"
        assert service.listed == 1


async def test_the_first_model_is_named_in_the_answer(tmp_path: Path) -> None:
    """The answer says which model was found, in its first event."""
    async with (
        vendor() as (service, url),
        Berlin(recipe="openai-compatible", url=url, api_key="k") as berlin,
    ):
        events = [event async for event in berlin.stream(ChatRequest.of("hi"))]
        started = events[0]
        assert isinstance(started, Started)
        assert started.model == "first"
        service.models = []
    async with (
        vendor() as (service, url),
        Berlin(recipe="openai-compatible", url=url, api_key="k") as berlin,
    ):
        service.models = []
        with pytest.raises(InvalidRequestError, match="no default model and lists none"):
            await berlin.ask("hi")
        assert service.chats == []


@pytest.mark.parametrize(("max_retries", "sent"), [(None, 3), (0, 1), (4, 5)])
async def test_how_often_it_is_tried_again(max_retries: int | None, sent: int) -> None:
    """`max_retries` says how often a request is sent again that failed before its first event."""
    async with (
        vendor() as (service, url),
        Berlin(recipe="openai", url=url, api_key="k", max_retries=max_retries) as berlin,
    ):
        service.refusals = 9
        with pytest.raises(RateLimitError):
            await berlin.ask("hi")
        assert len(service.chats) == sent


async def test_the_berlin_protocol_by_its_address() -> None:
    """A URL, an account and a password reach a service that speaks the Berlin protocol."""
    async with ChatService() as service:
        for berlin in (
            Berlin(service.url, "account", "password"),
            Berlin(url=service.url, account="account", password="password"),
        ):
            async with berlin:
                assert (await berlin.ask("hi")).text == "Hello, world"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Berlin(acount="x"), "no argument 'acount'; did you mean 'account'?"),
        (lambda: Berlin(base_url="x"), "no argument 'base_url'; did you mean 'url'?"),
        (lambda: Berlin(timeouts=3), "no argument 'timeouts'; did you mean 'timeout'?"),
        (lambda: Berlin(temperature=1), "Options of a model belong to ask and text"),
        (lambda: Berlin("http://a.example", url="http://b.example"), "the URL is given twice"),
        (lambda: Berlin("openai", recipe="openai"), "give only one of the two"),
        (lambda: Berlin(recipe="opnai"), "no recipe 'opnai'; did you mean 'openai'?"),
        (lambda: Berlin("guide", api_key="x"), "the provider guide takes no api_key"),
        (lambda: Berlin("guide", max_retries=1), "the provider guide takes no max_retries"),
        (lambda: Berlin("openai", max_retries=-1), "max_retries must be 0 or more"),
        (lambda: Berlin("azure-openai", api_key="x"), "azure-openai needs a URL"),
        (lambda: Berlin("http://chat.example", "a", "b"), "plain http"),
        (lambda: Berlin("http://127.0.0.1:9", api_key="k"), "needs account and password, not api_"),
    ],
)
def test_arguments_that_cannot_be_used(make: Callable[[], Berlin], said: str) -> None:
    """A wrong argument is an error before anything is sent, and says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in caught.value.message


def test_a_name_that_means_nothing() -> None:
    """An unknown name is an error with the nearest one."""
    with pytest.raises(ModelNotFoundError, match="did you mean 'openai'"):
        Berlin("opnai")
    with pytest.raises(ModelNotFoundError, match="there is no model or provider"):
        Berlin("chat.example.com")


async def test_the_guide_by_its_name() -> None:
    """A provider without a recipe is opened as the others are."""
    async with Berlin("guide") as berlin:
        assert "recipe" in (await berlin.ask("What is a recipe?")).text
        assert berlin.url == ""
        assert berlin.working is True
        assert repr(berlin) == "Berlin()"


async def test_without_arguments_it_is_the_default_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Berlin()` and `berlin chat` ask the same service; an account still means the class's own."""
    file = tmp_path / "berlin.toml"
    monkeypatch.setenv("BERLIN_CONFIG", str(file))
    async with vendor() as (service, url):
        file.write_text(
            f'[providers.work]\nrecipe = "openai-compatible"\nurl = "{url}"\nmodel = "second"\n'
        )
        async with Berlin() as berlin:
            assert (await berlin.ask("Hi")).text == "second"
        assert Berlin(account="ann", password="secret").url == Berlin.url
    assert len(service.chats) == 1


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([print], r"tools\[0\]: must be a Tool or a dictionary as in OpenAI's API, not builtin"),
        ("search", r"tools\[0\]: must be a Tool or a dictionary as in OpenAI's API, not str"),
        ([{"type": "function"}], "tools"),
    ],
)
async def test_tools_that_are_none(tools: Any, said: str) -> None:
    """A function or a name is not a tool: the error says how to describe one."""
    with pytest.raises(InvalidRequestError, match=said):
        await Berlin("guide").ask("Hi", tools=tools)
