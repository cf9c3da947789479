"""The token sources of this process: one for each key."""

from __future__ import annotations

import os
import threading

from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.source import TokenSource
from berlin.auth.tokens.store import TokenKey

MAX_SOURCES = 1024

_SHARED: dict[tuple[TokenKey, SharedTokens | None], TokenSource] = {}
_SHARED_LOCK = threading.Lock()


def shared_source(key: TokenKey, shared: SharedTokens | None = None) -> TokenSource:
    """Return this process's one source for a key."""
    with _SHARED_LOCK:
        source = _SHARED.pop((key, shared), None) or TokenSource(key, shared)
        _SHARED[key, shared] = source  # at the end, so that the least used come first
        while len(_SHARED) > MAX_SOURCES:
            del _SHARED[next(iter(_SHARED))]
        return source


def _after_fork_in_child() -> None:
    global _SHARED_LOCK
    _SHARED_LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
