"""A face: a dialect that the gateway speaks for all its providers, as a table of paths."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, TypeAlias, TypeVar

from berlin.errors import BerlinError
from berlin.gateway import web
from berlin.gateway.access.caller import Caller
from berlin.gateway.chat import Gateway

Handler: TypeAlias = Callable[[Gateway, web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One path of a face; see `Dispatch` for `{id}`."""

    method: str
    path: str
    handler: Handler


class Face(NamedTuple):
    """A dialect: its paths and its encoding of errors.

    Attributes:
        name: for logs and metrics.
        prefixes: paths below which errors use this dialect, even if no route matches.
        encode_error: returns the body of an error.
        routes: its paths.
    """

    name: str
    prefixes: tuple[str, ...]
    encode_error: Callable[[BerlinError], bytes]
    routes: tuple[Route, ...]


# More are described in a thread, so that the loop is not blocked.
MANY_MODELS = 500

_T = TypeVar("_T")


async def describe_models(
    gateway: Gateway, request: web.Request, describe: Callable[[Iterator[str]], _T]
) -> _T:
    """Return what a face makes of the names of the models that a client may use."""
    return await of_models(gateway, await gateway.identify(request, "models"), describe)


async def of_models(
    gateway: Gateway, caller: Caller | None, describe: Callable[[Iterator[str]], _T]
) -> _T:
    """Return what is made of the names of the models that a caller may use."""

    def work() -> _T:
        return describe(_model_names(gateway, caller))

    if sum(len(service.models) for service in gateway.catalog.services.values()) > MANY_MODELS:
        return await asyncio.to_thread(work)
    return work()


def json_body(body: bytes) -> web.Response:
    """Return a response with this JSON."""
    return web.Response(body=body, content_type="application/json", charset="utf-8")


def _model_names(gateway: Gateway, key: Caller | None) -> Iterator[str]:
    """Yield the names of the models that a key may use."""
    catalog = gateway.catalog
    for name in catalog.names():
        if key is None or key.allows(catalog.resolve(name).full_name):
            yield name
