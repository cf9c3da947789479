"""Recipes of the tests, and providers that are built from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import msgspec

from berlin.auth.authenticator import Authenticator
from berlin.auth.credentials import Credentials
from berlin.auth.flows.command import CommandMap
from berlin.auth.flows.static import ApiKeyMap
from berlin.providers.contract import Provider
from berlin.providers.http import HttpProvider
from berlin.recipes.build import build_provider
from berlin.recipes.recipe import Recipe, resolve_endpoint
from berlin.types import ChatRequest, ChatResponse, Timeouts, accumulate
from berlin.workbench.fake import CREDENTIALS, open_fake, redirect

TIMEOUTS = Timeouts(5, 10, 10, 30)

PLAIN_CHAT: dict[str, Any] = {
    "path": "/chat",
    "json": {"prompt": "{prompt}"},
    "stream": {"framing": "ndjson", "text": "/content", "error_message": "/message"},
}


def recipe_of(
    chat: Mapping[str, Any] = PLAIN_CHAT, auth: Mapping[str, Any] | None = None, **more: Any
) -> Recipe:
    """Return a recipe of its own name and URL: tokens of one are never those of another."""
    tree = {
        "schema": 1,
        "name": f"tested-{token_hex(4)}",
        "description": "A service of the tests",
        "endpoint": {"url": f"https://service.example.com/{token_hex(4)}"},
        "auth": auth or {"flow": "none"},
        "chat": chat,
        **more,
    }
    return msgspec.convert(tree, Recipe)


def unattended(recipe: Recipe) -> Recipe:
    """Return the recipe with a key in place of what a program or a person would have to give."""
    flow = recipe.auth.flow()
    if isinstance(recipe.auth, CommandMap) or (flow is not None and flow.needs_person):
        return msgspec.structs.replace(recipe, auth=ApiKeyMap(attach=recipe.auth.attach))
    return recipe


@asynccontextmanager
async def opened(
    recipe: Recipe, credentials: Credentials | None = CREDENTIALS, **more: Any
) -> AsyncIterator[tuple[HttpProvider, Authenticator]]:
    """Give the provider of a recipe, and its authentication."""
    endpoint = resolve_endpoint(recipe.endpoint)
    provider, auth = build_provider(recipe, endpoint, credentials, TIMEOUTS, **more)
    async with aclosing(provider):
        yield provider, auth


def client_of(
    recipe: Recipe, url: str, credentials: Credentials = CREDENTIALS, **more: Any
) -> AbstractAsyncContextManager[tuple[HttpProvider, Authenticator]]:
    """Give the provider of a recipe that asks a fake of it, and its authentication."""
    parts = urlsplit(url)
    return opened(redirect(recipe, f"{parts.scheme}://{parts.netloc}"), credentials, **more)


@asynccontextmanager
async def fake_and_client(
    recipe: Recipe, answers: Provider, credentials: Credentials = CREDENTIALS, **more: Any
) -> AsyncIterator[HttpProvider]:
    """Give the provider of a recipe that asks a fake of the same recipe."""
    async with (
        open_fake(recipe, answers, **more) as url,
        client_of(recipe, url, credentials) as (provider, _),
    ):
        yield provider


async def ask(provider: HttpProvider, prompt: str, **more: Any) -> ChatResponse:
    """Return the whole answer to a prompt."""

    async def events() -> AsyncIterator[Any]:
        async for burst in provider.bursts(ChatRequest.of(prompt, **more)):
            for event in burst:
                yield event

    return await accumulate(events())
