"""Sessions are kept alive while they are used, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from berlin.errors import ServiceUnavailableError
from berlin.language.tables.keeping import KeepAliveMap
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.keep_alive import KeepAlive
from berlin.types import Finished, HttpRequest, HttpResponse
from support.virtual_time import run

EVERY = KeepAliveMap("/api/me", every_s=60, for_s=150)


class Service:
    """Notes what is sent to keep it alive; it never answers well."""

    def __init__(self) -> None:
        self.sent: list[HttpRequest] = []

    async def call(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        raise ServiceUnavailableError("not now")


async def _ask(provider: KeepAlive) -> None:
    assert await provider.ask("Hi")


def test_requests_end_after_the_last_chat() -> None:
    """One every minute, for two and a half minutes after the last use; failures do no harm."""
    service = Service()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        provider = KeepAlive(
            ScriptedProvider(["Hello", Finished()]), service.call, EVERY, loop.time
        )
        await _ask(provider)
        assert service.sent == []
        await asyncio.sleep(1000)
        assert [(r.method, r.path) for r in service.sent] == [("GET", "/api/me")] * 2
        await _ask(provider)
        await asyncio.sleep(61)
        assert len(service.sent) == 3
        await provider.aclose()
        await asyncio.sleep(1000)
        assert len(service.sent) == 3
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"path": "api"}, "must begin with a slash"),
        ({"path": "/a", "every_s": 0.1}, "every_s must be from 1"),
        ({"path": "/a", "every_s": 60, "for_s": 30}, "for_s must be from every_s"),
        ({"path": "/a", "every": 3}, "unknown field `every`"),
    ],
)
def test_mistakes(table: dict[str, Any], message: str) -> None:
    """A table that would flood a service, or do nothing, is refused."""
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(table, KeepAliveMap)
