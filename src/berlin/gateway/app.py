"""The application: all faces, and the handling common to all requests."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from berlin.errors import BerlinError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.body import MAX_BODY_BYTES
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Face, Handler
from berlin.gateway.faces.anthropic import AnthropicFace
from berlin.gateway.faces.berlin import BerlinFace
from berlin.gateway.faces.completions import CompletionsFace
from berlin.gateway.faces.embeddings import EmbeddingsFace
from berlin.gateway.faces.ollama import OllamaFace
from berlin.gateway.faces.openai import OpenAIFace
from berlin.gateway.faces.responses import ResponsesFace
from berlin.gateway.faces.usage import UsageFace
from berlin.gateway.observe.flood import bound_log
from berlin.gateway.observe.visit import VISIT, Visit
from berlin.gateway.refusals import from_http, headers_of, public
from berlin.gateway.serving.health import HealthPages
from berlin.gateway.serving.page import FrontPage

_log = logging.getLogger("berlin.gateway")


def build_app(gateway: Gateway, accounts: Accounts, token_lifetime_s: float) -> web.Application:
    """Return the web application that serves the providers of a gateway.

    Args:
        gateway: the shared gateway.
        accounts: the accounts of the Berlin face.
        token_lifetime_s: lifetime of that face's tokens in seconds.
    """
    bound_log()
    gateway.guard.accounts = accounts
    key = gateway.worker.secret("sessions") if gateway.worker is not None else None
    sessions = Sessions(token_lifetime_s, accounts.fingerprint, key)
    faces: list[Face] = [
        BerlinFace(gateway, accounts, sessions),
        AnthropicFace(gateway),
        OllamaFace(gateway),
        ResponsesFace(gateway),
        CompletionsFace(gateway),
        EmbeddingsFace(gateway),
        UsageFace(gateway),
        OpenAIFace(gateway),
    ]
    reception = _Reception(gateway, faces)

    @web.middleware
    async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await reception.serve(request, handler)

    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[serve])
    for face in faces:
        for route in face.routes():
            app.router.add_route(route.method, route.path, route.handler)
            if route.method == "GET":
                app.router.add_route("HEAD", route.path, route.handler)
    app.add_routes(FrontPage(gateway).routes())
    app.add_routes(HealthPages(gateway).routes())
    app.on_response_prepare.append(reception.finish_head)
    return app


class _Reception:
    """Receives every request, and answers every error in the dialect of its face."""

    def __init__(self, gateway: Gateway, faces: list[Face]) -> None:
        self._gateway = gateway
        self._faces = faces

    async def finish_head(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add the headers of every response."""
        response.headers["Server"] = "berlin"  # not the versions of the underlying libraries
        visit = request.get(VISIT)
        if visit is not None:
            response.headers["x-request-id"] = visit.id
            if visit.more_headers is not None:
                response.headers.update(visit.more_headers)
        if self._gateway.draining:
            response.force_close()
            response.headers["Connection"] = "close"
        self._gateway.guard.allow_origin(request, response)

    async def serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request."""
        gateway = self._gateway
        if HealthPages.has(request.path):
            return await handler(request)
        visit = request[VISIT] = Visit.of(request, gateway.guard.address(request))
        face = self._face_of(request.path)
        visit.face = face.name
        try:
            gateway.guard.check_origin(request)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                response: web.StreamResponse = gateway.guard.preflight(request)
            else:
                gateway.check_running()
                response = await handler(request)
            visit.status = response.status
        except web.HTTPException as error:
            response = self._refuse(from_http(error), face, visit)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except BerlinError as error:
            response = self._refuse(error, face, visit)
        except (ConnectionError, asyncio.CancelledError):
            visit.left = True
            raise
        except Exception:
            _log.exception("request.failed request=%s", visit.id)
            response = self._refuse(BerlinError("internal error"), face, visit)
        finally:
            # Nothing is awaited here, so this also happens when the client is gone.
            gateway.bodies.release(request)
            visit.end()
            for observer in gateway.observers:
                observer.ended(visit)
        return response

    def _refuse(self, error: BerlinError, face: Face, visit: Visit) -> web.Response:
        visit.error = error
        shown = public(error)
        visit.status = shown.http_status
        if shown is not error:
            _log.warning("request.refused request=%s error=%s", visit.id, error.message)
        response = web.Response(
            body=face.encode_error(shown),
            status=shown.http_status,
            content_type="application/json",
            headers=headers_of(shown),
        )
        if shown.http_status in (408, 413):
            response.force_close()  # the rest of the body is not read
        return response

    def _face_of(self, path: str) -> Face:
        # The last one also handles targets that are not paths (`*`).
        last = self._faces[-1]
        return next((face for face in self._faces if path.startswith(face.prefixes)), last)
