"""What the gateway uses of aiohttp's server.

`aiohttp.web` also imports its application, router, files and command line, which are 1.2 MB.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_request import Request as _Request
from aiohttp.web_response import Response, StreamResponse, json_response
from aiohttp.web_server import Server

if TYPE_CHECKING:
    from berlin.gateway.observe.visit import Visit

__all__ = (
    "BaseRequest",
    "Request",
    "RequestHandler",
    "Response",
    "Server",
    "StreamResponse",
    "json_response",
)


class Request(_Request):
    """A request of a client.

    Attributes:
        visit: its record, once it is known whose path it has.
        id: the part of its path that matches `{id}`; `""` if there is none.
        held: whose memory its body is counted for, and how many bytes.
    """

    visit: Visit
    id: str = ""
    held: tuple[Hashable, int] | None = None
