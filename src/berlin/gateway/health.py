"""The pages for those who watch the gateway. None of them asks a service."""

from __future__ import annotations

from aiohttp import web

from berlin.errors import BerlinError
from berlin.gateway.chat import Gateway
from berlin.types import is_loopback

_PATHS = ("/healthz", "/readyz", "/metrics")


class HealthPages:
    """`/healthz`: the process lives. `/readyz`: it takes work. `/metrics`: what it has done.

    Args:
        gateway: what is watched.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @staticmethod
    def has(path: str) -> bool:
        """Tell whether a path is one of these pages."""
        return path in _PATHS

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the pages."""
        pages = (self._health, self._readiness, self._metrics)
        return [web.get(path, page) for path, page in zip(_PATHS, pages, strict=True)]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readiness(self, request: web.Request) -> web.Response:
        gateway = self._gateway
        why = "stopping" if gateway.stopping else "" if gateway.guard.ready else "keys unreadable"
        if why:
            return web.json_response({"status": why}, status=503, headers={"Retry-After": "1"})
        return web.json_response({"status": "ok"})

    async def _metrics(self, request: web.Request) -> web.Response:
        gateway = self._gateway
        if not is_loopback(request.remote or ""):
            try:
                gateway.guard.identify(request)
            except BerlinError as error:
                return web.Response(status=error.http_status)
        for service in gateway.catalog.services.values():
            gateway.metrics.set_waiting(service.name, service.admission.in_line)
        body, content_type = gateway.metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})
