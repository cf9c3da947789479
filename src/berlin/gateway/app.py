"""The application: faces over one provider, and what holds for all of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from berlin.gateway.accounts import Accounts
from berlin.gateway.body import MAX_BODY_BYTES
from berlin.gateway.faces.berlin import BerlinFace
from berlin.gateway.sessions import Sessions
from berlin.gateway.streaming import OpenStreams
from berlin.providers.base import Provider

_log = logging.getLogger("berlin.gateway")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def build_app(
    provider: Provider, accounts: Accounts, token_lifetime_s: float, streams: OpenStreams
) -> web.Application:
    """Return the web application that serves a provider.

    Args:
        provider: what answers.
        accounts: who may log in.
        token_lifetime_s: seconds that a token is good for.
        streams: takes note of the answers being written.
    """
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_tell_errors_as_json])
    face = BerlinFace(provider, accounts, Sessions(token_lifetime_s), streams)
    app.add_routes(face.routes())
    app.on_response_prepare.append(_name_server)
    return app


async def _name_server(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "berlin"  # and not the versions of what it is built on


@web.middleware
async def _tell_errors_as_json(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        body = {"code": error.status, "message": error.reason}
        return web.json_response(body, status=error.status, headers=allow)
    except (ConnectionError, TimeoutError):
        raise  # the client is gone
    except Exception:
        _log.exception("request.failed")
        return web.json_response({"code": 500, "message": "internal error"}, status=500)
