"""What the gateway uses of aiohttp's server.

`aiohttp.web` also imports its application, router, files and command line, which are 1.2 MB.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from aiohttp.web_protocol import RequestHandler as RequestHandler
from aiohttp.web_request import BaseRequest as BaseRequest
from aiohttp.web_request import Request as _Request
from aiohttp.web_response import Response as Response
from aiohttp.web_response import StreamResponse as StreamResponse
from aiohttp.web_response import json_response as json_response
from aiohttp.web_server import Server as Server

if TYPE_CHECKING:
    from berlin.gateway.observe.visit import Visit


class Request(_Request):
    """A request of a client.

    Attributes:
        visit: its record, once it is known whose path it has.
        id: the part of its path that matches `{id}`; `""` if there is none.
        held: whose memory its body is counted for, and how many bytes.
    """

    # Otherwise aiohttp warns of each of ours in Python's development mode.
    ATTRS = _Request.ATTRS | {"visit", "id", "held"}

    visit: Visit
    id: str = ""
    held: tuple[Hashable, int] | None = None
