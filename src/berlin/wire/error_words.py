"""The meaning of the statuses, codes and types with which services report errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ContentFilterError,
    ContextLengthError,
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

_OF_STATUS: Mapping[int, type[BerlinError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: PermissionDeniedError,
    407: ProxyError,
    408: UpstreamTimeoutError,
    429: RateLimitError,
    504: UpstreamTimeoutError,
}
_OF_HUNDRED: Mapping[int, type[BerlinError]] = {
    3: RedirectError,
    4: RequestRejectedError,
    5: ServiceUnavailableError,
}


def error_class_for_status(status: int) -> type[BerlinError]:
    """Return the class for an HTTP status, including one inside a 200 response."""
    return _OF_STATUS.get(status) or _OF_HUNDRED.get(status // 100, ProtocolError)


_QUOTA = (
    *("insufficient_quota", "quota_exceeded", "billing_hard_limit_reached", "billing_error"),
    *("insufficient_balance", "insufficient_credits", "insufficient_funds", "payment_required"),
    *("credit_balance_too_low", "exceeded_current_quota_error", "billing_not_active", "arrearage"),
)
_FILTER = (
    *("content_policy_violation", "image_content_policy_violation", "content_filter"),
    *("responsible_ai_policy_violation", "data_inspection_failed", "moderation_blocked"),
)
_CONTEXT = (
    *("context_length_exceeded", "context_window_exceeded", "prompt_too_long", "input_too_long"),
    *("max_tokens_exceeded", "string_above_max_length", "context_length_error"),
)
_BY_STATUS: Mapping[int, tuple[str, ...]] = {
    400: (
        *("invalid_request_error", "invalid_request", "invalid_argument", "bad_request"),
        *("unsupported_value", "invalid_prompt"),
        *("unsupported_parameter", "invalid_value", "validation_error", "failed_precondition"),
        *("invalid_parameter", "invalid_image", "unprocessable_entity"),
        *("missing_required_parameter", "invalid_type", "request_validation_error", "out_of_range"),
        *("invalid_request_message_order", "json_validate_failed", "tool_use_failed"),
    ),
    401: (
        *("authentication_error", "invalid_api_key", "unauthenticated", "unauthorized"),
        *("invalid_token", "token_expired", "expired_token", "invalid_authentication"),
        *("invalid_authentication_error", "authentication_failed", "incorrect_api_key"),
    ),
    403: ("permission_error", "permission_denied", "forbidden", "access_denied", "region_denied"),
    404: ("not_found_error", "model_not_found", "not_found", "resource_not_found_error"),
    413: ("request_too_large", "payload_too_large", "request_entity_too_large"),
    429: (
        *("rate_limit_exceeded", "rate_limit_error", "rate_limit", "rate_limited", "throttled"),
        *("too_many_requests", "resource_exhausted", "throttling", "throttling_exception"),
        *("rate_limit_reached_error", "requests_limit_exceeded", "limit_requests"),
        *("rate_limit_exceeded_error", "tokens_limit_exceeded", "concurrency_limit_exceeded"),
    ),
    500: (
        *("server_error", "api_error", "internal_error", "internal_server_error", "internal"),
        *("service_error", "upstream_error", "processing_error", "model_error"),
    ),
    503: (
        *("overloaded_error", "overloaded", "server_is_overloaded", "service_unavailable_error"),
        *("service_unavailable", "unavailable", "engine_overloaded", "engine_overloaded_error"),
        *("server_overloaded", "slow_down", "model_overloaded", "server_busy", "unavailable_error"),
        *("service_overloaded", "capacity_exceeded", "no_available_capacity"),
    ),
    504: ("timeout_error", "timeout", "deadline_exceeded", "request_timeout", "gateway_timeout"),
}

_CLASSES: dict[str, type[BerlinError]] = {
    **{word: error_class_for_status(s) for s, words in _BY_STATUS.items() for word in words},
    **dict.fromkeys(_QUOTA, QuotaError),
    **dict.fromkeys(_CONTEXT, ContextLengthError),
    **dict.fromkeys(_FILTER, ContentFilterError),
}

_BEFORE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = re.compile(r"[\s.-]+")


def class_of_words(words: Iterable[Any]) -> type[BerlinError] | None:
    """Return the error class of the first known word.

    Args:
        words: the reported code, type or status: `rate_limit_exceeded`, `RESOURCE_EXHAUSTED`,
            `ThrottlingException`.
    """
    found = [
        known
        for word in words
        if isinstance(word, str) and (known := _CLASSES.get(_normalize(word))) is not None
    ]
    # "invalid_request_error" is the type of nearly everything; any other word says more.
    return next((kind for kind in found if kind is not RequestRejectedError), None) or (
        found[0] if found else None
    )


def _normalize(word: str) -> str:
    split = word if word.isupper() else _BEFORE.sub("_", word)
    return _BETWEEN.sub("_", split.strip()).lower()


STATUS_OF: Mapping[type[BerlinError], int] = {
    **{error_class_for_status(status): status for status in (400, 401, 403, 429)},
    QuotaError: 429,
    ContextLengthError: 400,
    ServiceUnavailableError: 503,
    UpstreamTimeoutError: 504,
}
"""The status implied by a class when the service reported only a word."""
