"""The response object, as contained in events and in whole answers."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from berlin.errors import (
    BerlinError,
    ContextLengthError,
    InvalidRequestError,
    OverloadedError,
    RateLimitError,
)
from berlin.formats.contract import ClientCall
from berlin.formats.responses.request import ResponsesCall, new_id
from berlin.formats.responses.table import DIALECT
from berlin.types import FinishReason, Usage, extra_of
from berlin.wire.json import encode_line

_INCOMPLETE: dict[FinishReason, str] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


Claim: TypeAlias = Callable[[str], bool]


class ResponseObject:
    """Writes the response in its current state.

    Args:
        claim: returns whether a service's id may be used; by default all may.
    """

    def __init__(self, call: ClientCall, claim: Claim | None = None) -> None:
        self._claim = claim
        self.id = new_id("resp")
        self._created = int(time.time())
        echo = call.echo if isinstance(call, ResponsesCall) else {}
        self._members = {"model": call.request.model, **echo}
        # Instructions and tools are long: they are encoded once for all events.
        self._echo = encode_line(self._members)[1:-1]
        self._own: dict[str, Any] = {}
        self._is_named = False

    def take(self, members: Mapping[str, Any]) -> None:
        """Take the members of a response that a service of this dialect made."""
        id = members.get("id")
        if not self._is_named and isinstance(id, str) and _ID.fullmatch(id):
            self._is_named = True
            if self._claim is None or self._claim(id):
                self.id = id
        self._own |= {n: v for n, v in members.items() if n in _OF_STATE}
        more = {n: v for n, v in members.items() if n != "id" and n not in _OF_STATE}
        self._members |= more
        self._echo = encode_line(self._members)[1:-1]

    def begun(self) -> bytes:
        """Return the response before there is any output."""
        return self._write("in_progress", [])

    def ended(
        self, status: str, reason: FinishReason, output: list[dict[str, Any]], usage: Usage
    ) -> bytes:
        """Return the whole response."""
        cut = _INCOMPLETE.get(reason) if status == "incomplete" else None
        return self._write(
            status,
            output,
            usage=write_usage(usage),
            incomplete_details={"reason": cut} if cut else None,
            completed_at=None if cut else int(time.time()),
        )

    def failed(self, error: BerlinError, output: list[dict[str, Any]]) -> bytes:
        """Return a response that broke off."""
        return self._write("failed", output, error=_write_error(error))

    def _write(self, status: str, output: list[dict[str, Any]], **members: Any) -> bytes:
        fields = {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": output,
            "usage": None,
            **members,
            **self._own,
        }
        self._is_named = True
        return b"%b,%b}" % (encode_line(fields)[:-1], self._echo)


_OF_STATE = frozenset({"created_at", "completed_at", "incomplete_details"})
_ID = re.compile(r"[A-Za-z0-9_.=:-]{1,256}")


def ending(reason: FinishReason, own: Mapping[str, Any]) -> str:
    """Return the event that ends a stream with this finish reason, or the service's own status."""
    if own.get("status") == "completed" or reason not in _INCOMPLETE:
        return "response.completed"
    return "response.incomplete"


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the object that says what an answer has cost."""
    fields: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.estimated:
        fields["estimated"] = True
    return {**fields, **extra_of(usage.extra, DIALECT)}


def _write_error(error: BerlinError) -> dict[str, str]:
    # Clients of this API react to these codes: they wait, or shorten their conversation.
    match error:
        case RateLimitError() | OverloadedError():
            code = "rate_limit_exceeded"
        case ContextLengthError():
            code = error.code
        case InvalidRequestError():
            code = "invalid_prompt"
        case _:
            code = "server_error"
    return {"code": code, "message": error.message}
