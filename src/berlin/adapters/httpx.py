"""A login for httpx: `httpx.AsyncClient(auth=BerlinAuth(berlin))`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import httpx

from berlin.adapters.origin import check_origin
from berlin.client import Berlin
from berlin.providers.blocking import run_blocking


class BerlinAuth(httpx.Auth):
    """Puts the token of a provider into requests; a 401 causes a new token and one retry.

    The token is sent only to the provider's own origin: a request to another host raises
    ConfigurationError.

    Args:
        berlin: the provider that logs in.
    """

    requires_response_body = False

    def __init__(self, berlin: Berlin) -> None:
        self._berlin = berlin

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Authenticate a request of `httpx.Client`; see httpx."""
        check_origin(self._berlin, str(request.url))
        token = run_blocking(self._berlin.token())
        request.headers.update(token.headers_only())
        response = yield request
        if response.status_code == 401:
            self._berlin.reject_token(str(token))
            request.headers.update(run_blocking(self._berlin.token()).headers_only())
            yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Authenticate a request of `httpx.AsyncClient`; see httpx."""
        check_origin(self._berlin, str(request.url))
        token = await self._berlin.token()
        request.headers.update(token.headers_only())
        response = yield request
        if response.status_code == 401:
            self._berlin.reject_token(str(token))
            request.headers.update((await self._berlin.token()).headers_only())
            yield request
