"""Makes errors of the answers that report one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ContentFilterError,
    ContextLengthError,
    QuotaError,
    RateLimitError,
    RequestRejectedError,
    ServiceError,
)
from berlin.wire.error_words import STATUS_OF, class_of_words, error_class_for_status
from berlin.wire.json import decoded_or_none, encode_body
from berlin.wire.pointer import first_at
from berlin.wire.retry_after import parse_reset, parse_retry_after, parse_said
from berlin.wire.snippet import snippet

EXPLANATIONS = tuple(
    tuple(pointer.split("/"))
    for pointer in (
        *("error_description", "error/message", "error", "message", "msg", "detail"),
        "0/error/message",  # Google's list of one
    )
)
"""The usual places of error messages, unless a recipe says otherwise."""

MAX_ERROR_VALUES = 10_000
"""If the JSON of an error has more values, it is shown as text."""


def describe_error(body: bytes, pointers: tuple[tuple[str, ...], ...]) -> str:
    """Return the message at one of the pointers in an error answer, or the answer's beginning."""
    document = decoded_or_none(body, MAX_ERROR_VALUES)
    message = first_at(document, pointers)
    return snippet(message if isinstance(message, str) else body)


def error_from_answer(
    status: int, headers: Mapping[str, str], said: str, body: bytes = b""
) -> BerlinError:
    """Return the error for an answer with this status.

    Args:
        status: an HTTP status that is not a success.
        headers: names in lower case.
        said: the body's message, already cut to a printable line.
        body: the body, which may name the time to wait where no header does.
    """
    kind = _class_for(status, said)
    wait_s = parse_retry_after(headers)
    if wait_s is None and status == 429:
        wait_s = parse_reset(headers)
    said_s = parse_said(body.decode("utf-8", "replace")) if status in (429, 503) else None
    # Google calls its limits per minute a quota, too.
    if kind is RateLimitError and said_s is None and _NO_QUOTA.search(said):
        kind = QuotaError
    if 300 <= status < 400:
        said = "redirects are never followed, because credentials would travel with them; " + (
            "use the service's final URL"
        )
    return kind(
        f"the service answers {status}: {said or 'without a message'}",
        status=status,
        retry_after=said_s if wait_s is None else wait_s,
        request_id=headers.get("x-request-id") or headers.get("request-id"),
    )


def error_in_answer(
    error: Any,
    message: Any,
    code: Any,
    unauthorized: tuple[int | str, ...] = (401, "401"),
    words: tuple[Any, ...] = (),
) -> BerlinError:
    """Return the error inside an answer with a success status.

    Args:
        error: the value that is the error, or `UNSET`.
        message: its explanation, or `UNSET`.
        code: its code, or `UNSET`; from 400 to 599 it means what the HTTP status means.
        unauthorized: codes that mean the token is no longer valid.
        words: other hints at the kind of error: its type.
    """
    said = next((v for v in (error, message) if isinstance(v, str)), None)
    known = {"error": error, "message": message, "code": code}
    fields = {name: value for name, value in known.items() if value is not UNSET}
    text = snippet(said if said is not None else encode_body(fields))
    if code in unauthorized:
        return AuthenticationError(f"the service refuses the token: {text}", status=401)
    is_status = isinstance(code, int | str) and is_error_status(code)
    status = int(code) if is_status else 0
    kind = _class_for(status or 400, text)
    if kind not in (ContextLengthError, ContentFilterError):
        by_words = class_of_words((code, *words))
        if by_words is not None and (not is_status or issubclass(by_words, kind)):
            kind, status = by_words, status or STATUS_OF.get(by_words, 0)
        elif not is_status:
            kind = ServiceError
    wait_s = parse_said(text) if kind is RateLimitError else None
    return kind(f"the service reports an error: {text}", status=status or None, retry_after=wait_s)


def error_of_object(document: Mapping[str, Any]) -> BerlinError:
    """Return the error in an object of an answer with a success status.

    Args:
        document: contains `error`, an object or text, or is itself one: `message` or `detail`,
            `code`, `type`.
    """
    error = document.get("error") or UNSET
    fields = {**document, **error} if isinstance(error, dict) else dict(document)
    message = next((v for n in _MESSAGES if (v := fields.get(n)) is not None), UNSET)
    code = fields.get("code")
    if code is None or not isinstance(code, int | str):
        code = fields.get("status_code", fields.get("status"))
    words = tuple(fields.get(name) for name in ("code", "type", "status", "reason"))
    if isinstance(error, dict):
        error = error if message is UNSET else UNSET
        words = (*words, fields.get("error_type"))
    return error_in_answer(error, message, UNSET if code is None else code, words=words)


_MESSAGES = ("message", "detail", "msg")


def is_error_status(code: int | str) -> bool:
    """Return whether a code is an HTTP status from 400 to 599."""
    return re.fullmatch("[45][0-9]{2}", str(code)) is not None


def _class_for(status: int, said: str) -> type[BerlinError]:
    kind = error_class_for_status(status)
    # Clients shorten their conversation on this error, so it must be distinguished.
    if kind is RequestRejectedError and _TOO_LONG.search(said):
        return ContextLengthError
    if kind is RequestRejectedError and _FILTERED.search(said):
        return ContentFilterError
    return kind


_TOO_LONG = re.compile(
    r"context[_ ]length|context[_ ]window|maximum context|context size|prompt is too long"
    r"|too many tokens|input is too long|maximum number of tokens allowed"
    r"|reduce the length of the messages",
    re.IGNORECASE,
)

# What OpenAI, Azure and Anthropic say when their content filter refuses.
_FILTERED = re.compile(
    r"content[_ ]filter|content[_ ]policy|content management policy|safety system"
    r"|flagged as potentially violating",
    re.IGNORECASE,
)


# OpenAI, DeepSeek, Moonshot and others, which have one status for "slow down" and "pay".
_NO_QUOTA = re.compile(
    r"exceeded your current quota|insufficient[_ ](?:quota|balance|credits?|funds)"
    r"|credit balance is too low|billing hard limit",
    re.IGNORECASE,
)
