"""Maps an HTTP status to an error class."""

from __future__ import annotations

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    PermissionDeniedError,
    ProtocolError,
    ProxyError,
    QuotaError,
    RateLimitError,
    RedirectError,
    RequestRejectedError,
    ServiceUnavailableError,
    UpstreamTimeoutError,
)


def error_class_for_status(status: int) -> type[BerlinError]:
    """Return the class for an HTTP status, including one inside a 200 response."""
    match status:
        case 401:
            return AuthenticationError
        case 402:
            return QuotaError
        case 403:
            return PermissionDeniedError
        case 407:
            return ProxyError
        case 408 | 504:
            return UpstreamTimeoutError
        case 429:
            return RateLimitError
        case _ if 300 <= status < 400:
            return RedirectError
        case _ if 400 <= status < 500:
            return RequestRejectedError
        case _ if 500 <= status < 600:
            return ServiceUnavailableError
        case _:
            return ProtocolError
