"""`GET /v1/usage`: what the client's own key has used."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import get_args

import msgspec

from berlin.errors import InvalidRequestError, UnavailableError
from berlin.gateway import web
from berlin.gateway.chat import Gateway
from berlin.gateway.face import json_body
from berlin.gateway.refusals import HttpFault
from berlin.ledger.figures import Figures, Grouping, Query, total_of, usage_resource
from berlin.ledger.period import parse_time
from berlin.routing.counters.calendar import zone_of
from berlin.wire.json import encode_value

DAYS = 30
# More groups are described in a thread, so that the loop is not blocked.
MANY_GROUPS = 500
MAX_GROUPS = 10_000
"""The most groups in one answer; its total has all of them."""

_log = logging.getLogger("berlin.gateway")

_PARAMETERS = {"by", "since", "until", "zone"}
# Those that make sense for one key.
_GROUPINGS = tuple(name for name in get_args(Grouping) if name != "key")


async def show_usage(gateway: Gateway, request: web.Request) -> web.StreamResponse:
    """Answer `GET /v1/usage?by=day|model|provider|user&since=…&until=…&zone=…`."""
    key = await gateway.identify(request, "usage")
    if gateway.ledger is None:
        raise HttpFault(404, "this gateway has no ledger")
    query = _parse(request, "" if key is None else key.id)
    try:
        groups = await gateway.ledger.sums(query)
        total = None
        if len(groups) == MAX_GROUPS:
            total = total_of(await gateway.ledger.sums(msgspec.structs.replace(query, by=None)))
    except UnavailableError as error:  # where the database is, is for the log only
        _log.warning("usage.unavailable request=%s: %s", request.visit.id, error)
        raise UnavailableError("the ledger cannot be read at present; try again") from None
    work = partial(_encode, groups, query, gateway.ledger.currency, total)
    return json_body(await asyncio.to_thread(work) if len(groups) > MANY_GROUPS else work())


def _encode(groups: list[Figures], query: Query, currency: str, total: Figures | None) -> bytes:
    return encode_value(usage_resource(groups, query, currency, total))


def _parse(request: web.Request, key: str) -> Query:
    given = request.query
    if unknown := given.keys() - _PARAMETERS:
        known = ", ".join(sorted(_PARAMETERS))
        raise InvalidRequestError.about(min(unknown), f"is no parameter here; there are {known}")
    now = datetime.fromtimestamp(time.time(), UTC)
    by = given.get("by")
    if by is not None and by not in _GROUPINGS:
        raise InvalidRequestError.about("by", f"must be one of {', '.join(_GROUPINGS)}")

    def time_of(name: str, zone: str) -> datetime | None:
        try:
            return parse_time(given[name], now, zone) if name in given else None
        except ValueError as error:
            raise InvalidRequestError.about(name, str(error)) from None

    zone = given.get("zone", "UTC")
    try:
        zone_of(zone)
    except ValueError as error:
        raise InvalidRequestError.about("zone", str(error)) from None
    since = time_of("since", zone) or now - timedelta(days=DAYS)
    until = time_of("until", zone)
    if until is not None and until <= since:
        raise InvalidRequestError.about("until", "is not after since")
    return Query(by=by, since=since, until=until, key=key, zone=zone, most=MAX_GROUPS)  # type: ignore[arg-type]  # checked above
