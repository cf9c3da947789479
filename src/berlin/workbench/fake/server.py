"""Serves the fake of a recipe on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import LoginMap
from berlin.errors import BerlinError, ConfigurationError
from berlin.formats.contract import Format
from berlin.gateway.body import MAX_BODY_BYTES
from berlin.gateway.refusals import HttpFault, headers_of
from berlin.language.backwards import Received, StepReader
from berlin.language.step import Step
from berlin.language.tables.models import FetchMap
from berlin.providers.contract import Provider
from berlin.recipes.recipe import Recipe
from berlin.types import HttpResponse, Secret, is_loopback
from berlin.wire.pointer import parse_pointer, set_at
from berlin.workbench.fake.auth import AuthPlay, TokenRefusedError
from berlin.workbench.fake.chat import play_chat
from berlin.workbench.fake.issued import IssuedValues
from berlin.workbench.fake.play import Play, base_path, path_at_fake, whole

CREDENTIALS = Credentials(
    account="ann",
    password=Secret("secret"),
    api_key=Secret("fake-api-key"),
    client_id="fake-client",
    client_secret=Secret("fake-client-secret"),
    refresh_token=Secret("fake-refresh-token"),
    source="the fake",
)
"""The credentials a fake accepts by default."""


@asynccontextmanager
async def open_fake(
    recipe: Recipe,
    provider: Provider,
    credentials: Credentials = CREDENTIALS,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    lifetime_s: float = 3600.0,
    note: Callable[[str], None] = lambda line: None,
) -> AsyncIterator[str]:
    """Serve a fake of the service that a recipe describes, and yield its base URL.

    It is strict: credentials, tokens, cookies and ids must be correct, and must be sent where the
    recipe has them. The paths are those of the recipe, including those of its absolute URLs.

    Args:
        provider: provides the answers; it is not closed.
        credentials: the valid credentials of a login.
        host: address to listen on; only loopback.
        port: port to listen on; 0 takes a free one.
        lifetime_s: lifetime of a token in seconds.
        note: called with a line for each request.

    Raises:
        ConfigurationError: if the address cannot be listened on.
    """
    if not is_loopback(host):
        raise ConfigurationError(
            f"a fake is for this machine only; {host} can be reached by others"
        )
    desk = _Dispatcher(
        recipe, provider, IssuedValues(credentials, lifetime_s, _chosen(recipe)), note
    )

    @web.middleware
    async def serve(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await desk.serve(request)  # no routes: the recipe says which path is what

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[serve])
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "choose another port with --port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{runner.addresses[0][1]}{base_path(recipe)}"
    finally:
        await runner.cleanup()


class _Dispatcher:
    """Finds the handler of a request and runs it."""

    def __init__(
        self,
        recipe: Recipe,
        provider: Provider,
        issued: IssuedValues,
        note: Callable[[str], None],
    ) -> None:
        auth = AuthPlay(recipe, issued)
        self._plays = [*auth.plays(), *play_chat(recipe, provider, auth, issued)]
        if recipe.models.fetch is not None:
            self._plays.append(_play_models(recipe, recipe.models.fetch, auth))
        self._format: Format = recipe.format()
        self._rejected = (*recipe.auth.rejected_statuses, 401)[0]
        self._note = note

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        said = ""
        try:
            response = await self._answer(request)
        except web.HTTPException as error:
            said, response = error.reason, self._refuse(HttpFault(error.status))
        except BerlinError as error:
            said, response = error.message, self._refuse(error)
        message = f": {said}" if said else ""
        self._note(f"{request.method} {request.path} -> {response.status}{message}")
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            request.method,
            request.raw_path.partition("?")[0],
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
            dict(request.cookies),
            await request.read(),
        )
        fitting = [play for play in self._plays if play.reader.serves(received)]
        if not fitting:
            places = ", ".join(dict.fromkeys(play.place for play in self._plays))
            raise HttpFault(404, f"the recipe asks nothing of this path; it asks: {places}")
        play = min(fitting, key=lambda play: play.reader.difference(received))
        return await play.answer(request, received)

    def _refuse(self, error: BerlinError) -> web.Response:
        is_token = isinstance(error, TokenRefusedError)
        return web.Response(
            status=self._rejected if is_token else error.http_status,
            body=self._format.encode_error(error),
            content_type="application/json",
            headers=headers_of(error),
        )


def _chosen(recipe: Recipe) -> set[str]:
    """Return the placeholders whose values the client generates itself."""
    auth = recipe.auth.let if isinstance(recipe.auth, LoginMap) else {}
    kept = recipe.conversations
    made = {"conversation_id"} if kept is not None and kept.id == "client" else set()
    return {*recipe.chat.let, *auth, *made}


def _play_models(recipe: Recipe, fetch: FetchMap, auth: AuthPlay) -> Play:
    reader = StepReader(Step(fetch.path, "GET"), path_at_fake(recipe, fetch.path))
    names = recipe.models.list or (recipe.models.default or "fake",)

    def reply(received: Received) -> HttpResponse:
        auth.check(received)
        items = [_put(fetch.id, name) for name in names]
        return HttpResponse(200, body=msgspec.json.encode(_put(fetch.list, items)))

    return Play(reader, whole(reply))


def _put(pointer: str, value: object) -> object:
    """Return a document with the value at a pointer; the value itself for `""`."""
    if not pointer:
        return value
    document: dict[str, object] = {}
    set_at(document, parse_pointer(pointer), value)
    return document
