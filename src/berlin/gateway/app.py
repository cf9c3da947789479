"""All faces, and the handling common to all requests."""

from __future__ import annotations

import asyncio
import logging

from berlin.errors import BerlinError, UnavailableError
from berlin.gateway import web
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.chat import Gateway
from berlin.gateway.dispatch import Dispatch, Resource
from berlin.gateway.face import Face, Handler, Route
from berlin.gateway.faces import anthropic, embeddings, ollama, openai
from berlin.gateway.faces.berlin import BerlinFace
from berlin.gateway.faces.responses import ResponsesFace
from berlin.gateway.faces.usage import show_usage
from berlin.gateway.observe.flood import bound_log
from berlin.gateway.observe.visit import Visit
from berlin.gateway.refusals import HttpFault, headers_of, public
from berlin.gateway.serving.health import PAGES
from berlin.gateway.serving.page import show_page

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
        self._dispatch = Dispatch(
            (
                BerlinFace(accounts, sessions, gateway.worker).face(),
                anthropic.FACE,
                ollama.FACE,
                ResponsesFace().face(),
                openai.FACE,
            ),
            (
                *embeddings.ROUTES,
                Route("GET", "/v1/usage", show_usage),
                Route("GET", "/", show_page),
                *(Route("GET", *page) for page in PAGES.items()),
            ),
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        gateway = self._gateway
        found, request.id = self._dispatch.find(request.rel_url.path_safe)
        visit = Visit(request.method, found.path, gateway.guard.address(request), request.headers)
        request.visit = visit
        visit.face = found.face.name
        try:
            response = await self._handler(request, found)(gateway, request)
            visit.status = response.status
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
            if found.path not in PAGES:
                for observer in gateway.observers:
                    observer.ended(visit)
        if not response.prepared:
            response.headers.update(gateway.headers(request))
            # A cache knows of `Authorization`, but not of a key in another header.
            response.headers.setdefault("Cache-Control", "no-store")
            if gateway.draining:
                response.force_close()
        return response

    def _handler(self, request: web.Request, found: Resource) -> Handler:
        """Return the handler of a request. Raises BerlinError if it is refused."""
        gateway = self._gateway
        if found.path not in PAGES:
            gateway.guard.check_origin(request)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return _preflight
            if gateway.stopping:
                raise UnavailableError("the service is stopping; try again", retry_after=1)
        handler = found.handlers.get(request.method)
        if handler is None:
            allow = ",".join(sorted(found.handlers))
            raise HttpFault(405 if allow else 404, allow=allow)
        return handler

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


async def _preflight(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    return gateway.guard.preflight(request)
