"""Finds the client's own session id: agents send it in headers or body members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from berlin.types import ChatRequest
from berlin.wire.json import DECODE_ERRORS

MAX_CHARS = 256

# Headers of Claude Code, Codex and opencode.
HEADERS = ("X-Claude-Code-Session-Id", "Session-Id", "X-Session-Id", "X-Session-Affinity")
MEMBERS = ("conversation_id", "session_id", "prompt_cache_key")


def session_of(headers: Mapping[str, str], request: ChatRequest, more: Iterable[str] = ()) -> str:
    """Return the client's id of its session; `""` if it has none.

    It distinguishes conversations with the same text; it does not authenticate.
    """
    for name in (*more, *HEADERS):
        value = headers.get(name)
        if value:
            return value[:MAX_CHARS]
    members = request.extra.members if request.extra is not None else {}
    named = (members.get(name) for name in MEMBERS)
    metadata = (members.get("client_metadata"), members.get("metadata"), request.options)
    within = map(_within, metadata)
    found = (value for value in (*named, *within) if isinstance(value, str) and value)
    return next(found, "")[:MAX_CHARS]


def _within(metadata: Any) -> Any:
    if not isinstance(metadata, Mapping):
        return None
    session = metadata.get("session_id")
    user = metadata.get("user_id") or metadata.get("user")
    if session is None and isinstance(user, str) and user.startswith("{"):
        # Claude Code puts an object here.
        try:
            inner = msgspec.json.decode(user)
        except DECODE_ERRORS:
            return None
        return inner.get("session_id") if isinstance(inner, dict) else None
    return session
