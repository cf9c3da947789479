"""HTTP requests and responses as values, for formats and login flows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from berlin.types.secret import Secret
from berlin.types.socket import SocketDialog

# Halves of surrogate pairs would be dropped without an error.
_NEVER_SENT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def fits_header(value: str) -> bool:
    """Return whether a header may have this value (RFC 9110, 5.5): no controls but tabs."""
    return _NEVER_SENT.search(value) is None


class HttpRequest(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A request to the endpoint, or to a URL that a recipe names.

    Attributes:
        method: `GET`, `POST` …
        path: appended to the base URL, or an absolute URL.
        headers: names and values; a value that is a `Secret` is revealed on the wire only.
        query: parameters of the URL, which may be secret like headers.
        body: the bytes of the body.
        dropped: members of the chat request that this request cannot express.
        is_found: whether the path comes from an answer: then it may only lead to the endpoint's
            own origin, or to a host that the recipe lists.
        conversation_id: the service's id of the conversation, where it is known before the answer.
        socket: the dialog on a WebSocket, if the request opens one; created anew each time.
        meanwhile: requests to send once the answer has begun, such as one with the question.
        after: requests to send when the answer is complete, such as one that closes a session.
        success: the statuses that mean success, if not 200 to 299.
        credentials: whether the login's credentials are attached.
    """

    method: str
    path: str
    headers: Mapping[str, str | Secret] = {}
    query: Mapping[str, str | Secret] = {}
    body: bytes = b""
    dropped: tuple[str, ...] = ()
    is_found: bool = False
    conversation_id: str = ""
    socket: Callable[[], SocketDialog] | None = None
    meanwhile: tuple[HttpRequest, ...] = ()
    after: tuple[HttpRequest, ...] = ()
    success: tuple[int, ...] = ()
    credentials: bool = True

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.path}, {len(self.body)} bytes)"


class HttpResponse(msgspec.Struct, frozen=True):
    """A whole answer: for logins and for errors, never for a stream.

    Attributes:
        status: the HTTP status.
        headers: names in lower case; of several values of one name, the last.
        cookies: the cookies that the answer sets, by name.
        body: the bytes, decompressed, cut at the reader's limit.
    """

    status: int
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpResponse({self.status}, {len(self.body)} bytes)"
