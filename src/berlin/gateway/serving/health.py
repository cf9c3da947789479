"""The pages for monitoring the gateway. None of them sends requests to a service."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from berlin.errors import BerlinError
from berlin.gateway import web
from berlin.gateway.access.origin import is_local
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Handler

GAUGES_EVERY_S = 1.0


async def _health(gateway: Gateway, request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _readiness(gateway: Gateway, request: web.Request) -> web.Response:
    problem = await _problem_of(gateway)
    if problem:
        return web.json_response({"status": problem}, status=503, headers={"Retry-After": "1"})
    return web.json_response({"status": "ok"})


async def _problem_of(gateway: Gateway) -> str:
    """Return why the gateway accepts no requests; `""` if it does."""
    await gateway.guard.refresh()
    # A worker that has been replaced does not decide for the gateway.
    if gateway.worker is not None and gateway.worker.problem:
        return gateway.worker.problem
    if gateway.stopping:
        return "stopping"
    if gateway.guard.problem:
        return gateway.guard.problem
    if gateway.ledger is not None and gateway.ledger.problem:
        return gateway.ledger.problem
    return await gateway.stores.problem()


async def _metrics(gateway: Gateway, request: web.Request) -> web.Response:
    try:
        gateway.guard.check_origin(request)
        # A web page can give its own name the address of this machine.
        if not (is_local(request) and gateway.guard.knows_host(request)):
            await gateway.guard.identify(request, "usage")
    except BerlinError as error:
        return web.Response(status=error.http_status)
    if gateway.metrics is None:
        return web.Response()
    update_gauges(gateway)
    # Text of megabytes, if there are very many providers.
    body, content_type = await asyncio.to_thread(gateway.metrics.render)
    return web.Response(body=body, headers={"Content-Type": content_type})


PAGES: Mapping[str, Handler] = {
    "/healthz": _health,
    "/readyz": _readiness,
    "/metrics": _metrics,
}
"""`/healthz`: the process is alive. `/readyz`: it accepts requests. `/metrics`: its metrics."""


def update_gauges(gateway: Gateway) -> None:
    """Set the metrics that are a present state."""
    metrics, routes = gateway.metrics, gateway.catalog.routes
    if metrics is None:
        return
    metrics.set_streams(gateway.streams.by_face)
    waiting = Counter(routes.waiting if routes is not None else {})
    for service in gateway.catalog.services.values():
        waiting[service.name] += service.admission.in_line
    for service in gateway.catalog.services.values():
        metrics.set_requests(service.name, service.open.now, waiting.pop(service.name))
    for provider, count in waiting.items():  # members of models that are not services themselves
        metrics.set_requests(provider, count, count)
    for provider, state in (routes.states if routes is not None else {}).items():
        metrics.set_circuit(provider, state)
    if gateway.ledger is not None:
        metrics.set_ledger(gateway.ledger.counts)


async def update_gauges_forever(gateway: Gateway) -> None:
    """Keep the gauges fresh for scrapes that another worker answers."""
    while True:
        update_gauges(gateway)
        await asyncio.sleep(GAUGES_EVERY_S)
