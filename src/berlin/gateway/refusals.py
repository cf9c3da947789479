"""The public form of an error: enough for the client to act, nothing internal."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConfigurationError,
    ConnectionLostError,
    InvalidRequestError,
    PermissionDeniedError,
    ProtocolError,
    ServiceError,
    TransportError,
    UpstreamTimeoutError,
)
from berlin.gateway.observe.visit import Visit
from berlin.types.masking import HIDDEN

_log = logging.getLogger("berlin.gateway")

STATUS_CODES = {
    400: "invalid_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    426: "upgrade_required",
}


_MESSAGES = {
    # Clients interpret a bare 404 as an unknown model.
    404: "there is no such path here. A chat is POST /v1/chat/completions (OpenAI), /v1/responses, "
    "/v1/messages (Anthropic) or /api/chat (Ollama); the base URL of a client is this address with "
    "or without /v1",
    405: "this path takes another method",
    408: "the request did not come in time",
    413: "the body is too large",
    415: "send JSON, with Content-Type: application/json",
}


class HttpFault(BerlinError):
    """An error of HTTP itself: no such path, a wrong method, a body that is too large.

    Args:
        status: the HTTP status.
        message: the message for the client; by default that of the status.
        allow: the methods that the path takes, for status 405.
    """

    def __init__(self, status: int, message: str = "", *, allow: str = "") -> None:
        super().__init__(message or _MESSAGES.get(status, HTTPStatus(status).phrase))
        self.http_status = status  # type: ignore[misc]  # of this instance only
        self.code = STATUS_CODES.get(status, "http_error")  # type: ignore[misc]  # as above
        self.allow = allow


def public(error: BerlinError) -> BerlinError:
    """Return the public form of an error.

    The service's own message about a request is passed on. Unreachable hosts, unexpected responses,
    messages of logins, refused accounts and faulty tables of the configuration stay in the log.
    """
    status: int = error.http_status
    match error:
        case InvalidRequestError():
            return error
        case ConfigurationError():
            said, status = "the gateway is not set up for this; its log says more", 503
        case AuthenticationError() | PermissionDeniedError():
            said, status = "the service refuses the gateway's own credentials", 502
        case UpstreamTimeoutError():
            said, status = "the service took too long to answer", 504
        case ConnectionLostError():
            said, status = "the connection to the service broke", 502
        case TransportError():
            said, status = "the service could not be reached", 502
        case ServiceError() if error.private or type(error) is ProtocolError:
            answered = (
                f"the service answers {error.status}" if error.status else "the service failed"
            )
            said = f"{answered}; the gateway's log says more"
        case _ if type(error) is BerlinError:
            said, status = "internal error; the gateway's log says more", 500
        case _:
            said, status = _without_names(error), error.http_status
            if said == error.message:
                return error
    shown = error.again()
    shown.args = (said,)
    shown.http_status = status  # type: ignore[misc]  # of this instance only
    return shown


def _without_names(error: BerlinError) -> str:
    """Return the message without the names of hosts and accounts in it."""
    said = error.message
    for name in {name for one in (error, *error.causes) for name in one.names}:
        named = rf"(?<![\w-]){re.escape(name)}(?![\w-])(?::\d+)?(?:/[^\s\"'<>]*)?"
        said = re.sub(named, HIDDEN, said, flags=re.IGNORECASE)
    return said


def broken_off(error: BerlinError, visit: Visit) -> BerlinError:
    """Return the error of an answer that had started: it tells the client how much was sent."""
    shown = public(error)
    if shown is not error:  # the client sees less than what happened
        _log.warning("answer.broke_off request=%s error=%s", visit.id, error.message)
    if visit.events:
        shown = shown.again() if shown is error else shown
        came = f"{visit.events} event" + ("s" if visit.events > 1 else "")
        shown.args = (f"{shown.message} (after {came} of the answer)",)
    return shown


def headers_of(error: BerlinError) -> dict[str, str]:
    """Return the headers that tell a client whether and when to retry."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
        headers["retry-after-ms"] = str(max(1, round(error.retry_after * 1000)))
    if not error.retryable and error.http_status in _SENT_AGAIN:
        # Statuses that clients would retry in vain: Claude Code also 401 and 403.
        headers["x-should-retry"] = "false"
    if error.failed:
        headers["x-berlin-attempts"] = str(sum(attempt.sent for attempt in error.failed))
    if isinstance(error, HttpFault) and error.allow:
        headers["Allow"] = error.allow
    if error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


_SENT_AGAIN = frozenset({401, 403, 408, 409, 429, *range(500, 600)})
