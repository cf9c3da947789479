"""The tree of errors; everything that Berlin raises on purpose is below `BerlinError`.

BerlinError (a RuntimeError)
├── ConfigurationError            the set-up is wrong: nothing was sent                 [exit 2]
│   ├── MissingCredentialsError   no account or password was found
│   └── TokenStoreError           the token store is required but cannot be used
├── InvalidRequestError           the request is wrong (a ValueError too): nothing sent [exit 2]
│   └── ModelNotFoundError        there is no such provider or model
├── KeyRefusedError               the gateway refuses the key of a client              [exit 3]
├── OverloadedError               the gateway has too much to do                       [exit 5]
│   ├── LimitReachedError         a limit that the user set leaves no room in time
│   └── BudgetReachedError        a key's, user's or model's budget is used up
├── UnavailableError              the gateway takes no work at present                [exit 5]
├── AuthenticationError           the service refuses the credentials or the token      [exit 3]
├── PermissionDeniedError         known, but not allowed to do this (403)               [exit 3]
├── TransportError                the service was not reached or the connection broke [exit 4]
│   ├── ConnectError              no connection: refused, unknown name, no descriptor
│   │   ├── TLSError              the certificate or the handshake is bad
│   │   └── ProxyError            the proxy is down or refuses
│   ├── ConnectionLostError       the connection broke
│   └── UpstreamTimeoutError      one of the four limits passed (a TimeoutError too)
└── ServiceError                  an error or an invalid response from the service    [exit 5]
    ├── RequestRejectedError      it refuses this request: 400, 404, 413, 422 …
    │   ├── ContextLengthError    the conversation is too long for the model
    │   └── ContentFilterError    a content filter refuses the prompt or the answer
    ├── RateLimitError            429
    │   └── QuotaError            the account's quota or credit is used up
    ├── ServiceUnavailableError   5xx
    ├── CircuitOpenError          it failed recently and is skipped for now
    ├── RewrittenError            it rewrote text that was already passed on
    ├── RedirectError             it answers with a redirect, which is never followed
    └── ProtocolError             the bytes do not match the recipe
        ├── EmptyResponseError    a clean end without any answer
        ├── InvalidAnswerError    the model wrote no valid tool call or JSON, twice
        └── TruncatedStreamError  the answer was cut off

Each class says how it may be handled: `retryable` (the same request may be sent again, if no text
was passed on), `fallback` (another provider may be tried), `blames_service` (the service, not the
caller, is at fault), `exit_code` (of the command line) and `http_status` with `code` (what the
gateway answers).
"""

from __future__ import annotations

from typing import Self

from berlin.errors.base import BerlinError as BerlinError
from berlin.errors.base import FailedAttempt as FailedAttempt
from berlin.errors.base import bounded


class ConfigurationError(BerlinError):
    """The set-up is wrong or incomplete; nothing was sent."""

    exit_code = 2
    code = "configuration_error"


class MissingCredentialsError(ConfigurationError):
    """No account or no password was found."""

    code = "missing_credentials"


class TokenStoreError(ConfigurationError):
    """The token store cannot be used, and `on_failure = "error"` allows no login without it."""

    http_status = 503
    code = "token_store"


class InvalidRequestError(BerlinError, ValueError):
    """The request cannot be sent as it is; nothing was sent.

    Attributes:
        param: the invalid member of the request, if it is a single one.
    """

    exit_code = 2
    http_status = 400
    code = "invalid_request"
    param: str | None = None

    @classmethod
    def about(cls, param: str, message: str) -> Self:
        """Return an error that names the invalid member of the request."""
        error = cls(f"{param}: {message}")
        error.param = bounded(param)
        return error


class ModelNotFoundError(InvalidRequestError):
    """There is no such provider or model, or the caller may not use it."""

    http_status = 404
    code = "model_not_found"
    param = "model"


class KeyRefusedError(BerlinError):
    """The gateway does not know the key that a client sent, or it sent none."""

    exit_code = 3
    http_status = 401
    code = "invalid_api_key"


class OverloadedError(BerlinError):
    """The gateway has too many requests, or this client sends too many."""

    retryable = True
    exit_code = 5
    http_status = 429
    code = "rate_limit_exceeded"


class LimitReachedError(OverloadedError):
    """A configured limit of a provider or model did not admit the request in time."""

    fallback = True
    code = "limit_reached"


class BudgetReachedError(OverloadedError):
    """A budget of this client's key, user or model is used up for longer than a client waits."""

    retryable = False
    code = "insufficient_quota"


class UnavailableError(BerlinError):
    """The gateway currently takes no requests: it is stopping, or cannot read its keys."""

    retryable = True
    exit_code = 5
    http_status = 503
    code = "unavailable"


class AuthenticationError(BerlinError):
    """The service refuses the credentials, or a token that was just issued."""

    fallback = True
    exit_code = 3
    http_status = 502
    code = "upstream_authentication"


class PermissionDeniedError(BerlinError):
    """The service knows the account but does not allow the request (403)."""

    fallback = True
    exit_code = 3
    http_status = 502
    code = "upstream_permission"


class TransportError(BerlinError):
    """The service could not be reached, or the connection broke."""

    fallback = True
    blames_service = True
    exit_code = 4
    http_status = 502
    code = "upstream_unreachable"


class ConnectError(TransportError):
    """No connection could be made. Not retried: nothing is listening there."""


class TLSError(ConnectError):
    """The certificate or the TLS handshake is bad. The check cannot be disabled."""

    code = "upstream_tls"


class ProxyError(ConnectError):
    """The proxy is down, refuses, or asks for other credentials."""

    code = "upstream_proxy"


class ConnectionLostError(TransportError):
    """The connection broke: reset, closed, or cut."""

    retryable = True
    code = "upstream_connection_lost"


class UpstreamTimeoutError(TransportError, TimeoutError):
    """One of the four limits passed: `connect`, `first_event`, `idle` or `total`."""

    http_status = 504
    code = "upstream_timeout"


class ServiceError(BerlinError):
    """The service answered, but with an error or an invalid response."""

    fallback = True
    blames_service = True
    exit_code = 5
    http_status = 502
    code = "upstream_error"


class RequestRejectedError(ServiceError):
    """The service refuses this request (400, 404, 413, 422 …); sending it again will not help."""

    fallback = False
    blames_service = False
    http_status = 400
    code = "upstream_rejected"


class ContextLengthError(RequestRejectedError):
    """The conversation is longer than the model's context."""

    code = "context_length_exceeded"


class ContentFilterError(RequestRejectedError):
    """A content filter of the service refuses the prompt or the answer."""

    code = "content_filter"


class RateLimitError(ServiceError):
    """The service asks to slow down (429); `retry_after` says for how long, if it said so."""

    retryable = True
    blames_service = False
    http_status = 429
    code = "rate_limited"


class QuotaError(RateLimitError):
    """The account at the service has used up its quota or credit: waiting does not help."""

    retryable = False
    code = "insufficient_quota"


class ServiceUnavailableError(ServiceError):
    """The service failed (5xx)."""

    retryable = True
    http_status = 502
    code = "upstream_unavailable"


class CircuitOpenError(ServiceError):
    """The service failed recently, so it is skipped for now; nothing was sent."""

    blames_service = False
    http_status = 503
    code = "circuit_open"


class RedirectError(ServiceError):
    """The service answered with a redirect; credentials never follow one."""

    code = "upstream_redirect"


class ProtocolError(ServiceError):
    """The bytes of the answer do not match the recipe."""

    code = "upstream_protocol"


class RewrittenError(ServiceError):
    """The service rewrote text that was already passed on; a whole answer has its last text.

    Request a whole answer, or use a service that does not rewrite its text.
    """

    fallback = False
    code = "upstream_rewritten"

    @classmethod
    def of_stream(cls) -> Self:
        """Return the error that ends a stream."""
        return cls(
            "the service rewrote its answer after a part of it was shown; ask without a stream to "
            "get the last version"
        )


class EmptyResponseError(ProtocolError):
    """The answer ended cleanly without any text (not even empty) or finish reason."""

    code = "upstream_empty"


class InvalidAnswerError(ProtocolError):
    """The answer lacks the tool call or the JSON that the request requires, also when asked again.

    The service works: it is the model that did not write what it was asked for.
    """

    blames_service = False
    code = "invalid_answer"


class TruncatedStreamError(ProtocolError):
    """The answer was cut off: what came before is good, the rest is missing."""

    code = "upstream_truncated"
