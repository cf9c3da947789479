"""The endpoints of a fake: their paths and handlers, and the URLs of a recipe at a fake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from berlin.language.backwards import Received, StepReader
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse

Answer: TypeAlias = Callable[[web.Request, Received], Awaitable[web.StreamResponse]]


class Play(NamedTuple):
    """Answers the requests that a reader can read."""

    reader: StepReader
    answer: Answer

    @property
    def place(self) -> str:
        """Method and path, for display."""
        return f"{self.reader.method} {self.reader.path}"


def whole(reply: Callable[[Received], HttpResponse]) -> Answer:
    """Return a handler that writes a whole answer."""

    async def answer(request: web.Request, received: Received) -> web.StreamResponse:
        made = reply(received)
        response = web.Response(
            status=made.status,
            body=made.body,
            headers={
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
                **{name.title(): value for name, value in made.headers.items()},
            },
        )
        for name, value in made.cookies.items():
            response.set_cookie(name, value, path="/", httponly=True)
        return response

    return answer


def base_path(recipe: Recipe) -> str:
    """Return the path of the recipe's base URL; `""` if it has none."""
    return urlsplit(recipe.endpoint.url).path.rstrip("/")


def path_at_fake(recipe: Recipe, path: str) -> str:
    """Return the path at which a fake answers a recipe's path or absolute URL."""
    return (
        "/" + path.split("://", 1)[1].partition("/")[2]
        if "://" in path
        # A URL from an answer of a fake is a path below its own URL.
        else (base_path(recipe) + ("/" if path.startswith("{") else "") + path)
    )


def whole_urls(recipe: Recipe) -> list[str]:
    """Return the absolute URLs besides the base URL: a different base URL does not change them."""
    places = _places(msgspec.to_builtins(recipe))
    return [table[name] for table, name in places if "://" in table[name]][1:]


def redirect(recipe: Recipe, origin: str) -> Recipe:
    """Return the recipe with all its URLs at another origin; the paths stay as they are."""
    tree = msgspec.to_builtins(recipe)
    for table, name in _places(tree):
        if "://" in table[name]:
            table[name] = origin + path_at_fake(recipe, table[name])
    # Keys that lead to the real service, and how it is identified.
    for name in ("proxy", "ca_file", "client_cert", "client_key"):
        tree["endpoint"][name] = None
    return msgspec.convert(tree, Recipe)


def _places(tree: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return the tables and members that may contain a URL; the base URL is the first."""
    auth, chat, fetch = tree["auth"], tree["chat"], tree["models"]["fetch"]
    steps = [*auth.get("steps", ()), *auth.get("refresh", ()), *chat["prepare"]]
    steps += [*chat["meanwhile"], *chat["after"]]
    places = [(tree["endpoint"], "url"), *((step, "path") for step in steps), (chat, "path")]
    places += [(auth, "token_url"), (auth, "device_url"), (fetch or {}, "path")]
    return [(table, name) for table, name in places if table.get(name)]
