"""All faces, and the handling common to all requests."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain

from aiohttp import web

from berlin.errors import BerlinError
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.chat import Gateway
from berlin.gateway.dispatch import Dispatch, Resource
from berlin.gateway.face import ID, Face
from berlin.gateway.faces.anthropic import AnthropicFace
from berlin.gateway.faces.berlin import BerlinFace
from berlin.gateway.faces.embeddings import EmbeddingPaths
from berlin.gateway.faces.ollama import OllamaFace
from berlin.gateway.faces.openai import OpenAIFace
from berlin.gateway.faces.responses import ResponsesFace
from berlin.gateway.faces.usage import UsagePath
from berlin.gateway.observe.flood import bound_log
from berlin.gateway.observe.visit import VISIT, Visit
from berlin.gateway.refusals import from_http, headers_of, public
from berlin.gateway.serving.health import HealthPages
from berlin.gateway.serving.page import FrontPage

_log = logging.getLogger("berlin.gateway")


class App:
    """Receives every request, and answers every error in the dialect of its face.

    Args:
        gateway: the shared gateway.
        accounts: the accounts of the Berlin face.
        token_lifetime_s: lifetime of that face's tokens in seconds.
    """

    def __init__(self, gateway: Gateway, accounts: Accounts, token_lifetime_s: float) -> None:
        bound_log()
        gateway.guard.accounts = accounts
        key = gateway.worker.secret("sessions") if gateway.worker is not None else None
        sessions = Sessions(token_lifetime_s, accounts.fingerprint, key)
        self._gateway = gateway
        faces: tuple[Face, ...] = (
            BerlinFace(gateway, accounts, sessions),
            AnthropicFace(gateway),
            OllamaFace(gateway),
            ResponsesFace(gateway),
            OpenAIFace(gateway),
        )
        pages = (EmbeddingPaths(gateway), UsagePath(gateway), FrontPage(gateway))
        self._dispatch = Dispatch(
            faces, chain.from_iterable(page.routes() for page in (*pages, HealthPages(gateway)))
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        gateway = self._gateway
        found, request[ID] = self._dispatch.find(request.rel_url.path_safe)
        visit = Visit(request.method, found.path, gateway.guard.address(request), request.headers)
        request[VISIT] = visit
        visit.face = found.face.name
        try:
            response = await self._answer(request, found)
            visit.status = response.status
        except web.HTTPException as error:
            response = self._refuse(from_http(error), found.face, visit)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except BerlinError as error:
            response = self._refuse(error, found.face, visit)
        except (ConnectionError, asyncio.CancelledError):
            visit.left = True
            raise
        except Exception:
            _log.exception("request.failed request=%s", visit.id)
            response = self._refuse(BerlinError("internal error"), found.face, visit)
        finally:
            # Nothing is awaited here, so this also happens when the client is gone.
            gateway.bodies.release(request)
            visit.end()
            if found.path not in HealthPages.paths:
                for observer in gateway.observers:
                    observer.ended(visit)
        if not response.prepared:
            response.headers.update(gateway.headers(request))
            if gateway.draining:
                response.force_close()
        return response

    async def _answer(self, request: web.Request, found: Resource) -> web.StreamResponse:
        gateway = self._gateway
        if found.path not in HealthPages.paths:
            gateway.guard.check_origin(request)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return gateway.guard.preflight(request)
            gateway.check_running()
        handler = found.handlers.get(request.method)
        if handler is not None:
            return await handler(request)
        if found.handlers:
            raise web.HTTPMethodNotAllowed(request.method, found.handlers)
        raise web.HTTPNotFound

    def _refuse(self, error: BerlinError, face: Face, visit: Visit) -> web.Response:
        # Its frames hold the visit, and what was received so far: this cycle would keep megabytes.
        visit.error = error.with_traceback(None)
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
