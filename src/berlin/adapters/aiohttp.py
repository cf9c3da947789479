"""A login for aiohttp: `aiohttp.ClientSession(middlewares=[berlin_middleware(berlin)])`."""

from __future__ import annotations

from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from berlin.adapters.origin import check_origin
from berlin.client import Berlin


def berlin_middleware(berlin: Berlin) -> ClientMiddlewareType:
    """Return a middleware that puts a provider's token into requests.

    A 401 causes a new token and one retry. The token is sent only to the provider's own origin: a
    request to another host raises ConfigurationError.
    """

    async def authenticate(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        check_origin(berlin, str(request.url))
        token = await berlin.token()
        request.headers.update(token.headers_only())
        response = await handler(request)
        if response.status == 401:
            response.release()
            berlin.reject_token(str(token))
            request.headers.update((await berlin.token()).headers_only())
            response = await handler(request)
        return response

    return authenticate
