"""The pages for monitoring the gateway. None of them sends requests to a service."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from aiohttp import web

from berlin.errors import BerlinError
from berlin.gateway.access.origin import is_local
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route

ASK_STORES_EVERY_S = 1.0
GAUGES_EVERY_S = 1.0


class HealthPages:
    """`/healthz`: the process is alive. `/readyz`: it accepts requests. `/metrics`: its metrics.

    Args:
        gateway: the monitored gateway.
    """

    paths = ("/healthz", "/readyz", "/metrics")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._ask_stores_at = 0.0
        self._problem = ""

    def routes(self) -> list[Route]:
        """Return the paths of the pages."""
        pages = (self._health, self._readiness, self._metrics)
        return [Route("GET", *page) for page in zip(self.paths, pages, strict=True)]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readiness(self, request: web.Request) -> web.Response:
        gateway = self._gateway
        await gateway.guard.refresh()
        # A worker that has been replaced does not decide for the gateway.
        problem = gateway.worker.problem if gateway.worker is not None else ""
        problem = problem or ("stopping" if gateway.stopping else gateway.guard.problem)
        if not problem and gateway.ledger is not None:
            problem = gateway.ledger.problem
        if not problem:
            problem = await self._broken_store()
        if problem:
            return web.json_response({"status": problem}, status=503, headers={"Retry-After": "1"})
        return web.json_response({"status": "ok"})

    async def _broken_store(self) -> str:
        """Return the name of a required store that is unavailable, or `""`; asked once a second."""
        now = time.monotonic()
        if now >= self._ask_stores_at:
            self._ask_stores_at = now + ASK_STORES_EVERY_S
            stores = self._gateway.stores
            worked = await asyncio.gather(*(store.works() for store in stores.values()))
            broken = [name for name, works in zip(stores, worked, strict=True) if not works]
            self._problem = f"{broken[0]} unavailable" if broken else ""
        return self._problem

    async def _metrics(self, request: web.Request) -> web.Response:
        gateway = self._gateway
        try:
            gateway.guard.check_origin(request)
            if not is_local(request):
                await gateway.guard.identify(request, "usage")
        except BerlinError as error:
            return web.Response(status=error.http_status)
        update_gauges(gateway)
        body, content_type = gateway.metrics.render()
        return web.Response(body=body, headers={"Content-Type": content_type})


def update_gauges(gateway: Gateway) -> None:
    """Set the metrics that are a present state."""
    routes = gateway.catalog.routes
    waiting = Counter(routes.waiting if routes is not None else {})
    for service in gateway.catalog.services.values():
        waiting[service.name] += service.admission.in_line
    for service in gateway.catalog.services.values():
        gateway.metrics.set_requests(service.name, service.open.now, waiting.pop(service.name))
    for provider, count in waiting.items():  # members of models that are not services themselves
        gateway.metrics.set_requests(provider, count, count)
    for provider, state in (routes.states if routes is not None else {}).items():
        gateway.metrics.set_circuit(provider, state)
    if gateway.ledger is not None:
        gateway.metrics.set_ledger(gateway.ledger.counts)
    gateway.metrics.update()


async def update_gauges_forever(gateway: Gateway) -> None:
    """Keep the gauges fresh for scrapes that another worker answers."""
    while True:
        update_gauges(gateway)
        await asyncio.sleep(GAUGES_EVERY_S)
