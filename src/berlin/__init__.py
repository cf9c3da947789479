"""Berlin turns any chat service, even one behind a login, into a standard streaming LLM.

    from berlin import Berlin

    async with Berlin(url=…, account=…, password=…) as berlin:
        async for piece in berlin.text("Hello"):
            print(piece, end="")

The names below are loaded when they are first used: the command line answers `--help` without
loading an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from berlin._version import __version__ as __version__

if TYPE_CHECKING:
    from berlin import errors
    from berlin.client import Berlin
    from berlin.errors import BerlinError
    from berlin.g4f import AsyncGeneratorProvider, AsyncResult
    from berlin.providers.conversation import Conversation
    from berlin.providers.facade import ChatProvider
    from berlin.types import (
        ChatRequest,
        ChatResponse,
        Finished,
        Message,
        Messages,
        ReasoningDelta,
        StreamEvent,
        TextDelta,
        Timeouts,
        ToolCallDelta,
        Usage,
        UsageReport,
    )

_HOMES = {
    "Berlin": "berlin.client",
    "BerlinError": "berlin.errors",
    "AsyncGeneratorProvider": "berlin.g4f",
    "AsyncResult": "berlin.g4f",
    "ChatProvider": "berlin.providers.facade",
    "Conversation": "berlin.providers.conversation",
    "ChatRequest": "berlin.types",
    "ChatResponse": "berlin.types",
    "Finished": "berlin.types",
    "Message": "berlin.types",
    "Messages": "berlin.types",
    "ReasoningDelta": "berlin.types",
    "StreamEvent": "berlin.types",
    "TextDelta": "berlin.types",
    "Timeouts": "berlin.types",
    "ToolCallDelta": "berlin.types",
    "Usage": "berlin.types",
    "UsageReport": "berlin.types",
}

__all__ = [
    "AsyncGeneratorProvider",
    "AsyncResult",
    "Berlin",
    "BerlinError",
    "ChatProvider",
    "ChatRequest",
    "ChatResponse",
    "Conversation",
    "Finished",
    "Message",
    "Messages",
    "ReasoningDelta",
    "StreamEvent",
    "TextDelta",
    "Timeouts",
    "ToolCallDelta",
    "Usage",
    "UsageReport",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("berlin.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'berlin' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
