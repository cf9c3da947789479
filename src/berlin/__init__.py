"""Berlin turns any chat service, even one behind a login, into a standard streaming LLM.

    from berlin import Berlin

    async with Berlin("work") as berlin:
        async for piece in berlin.text("Hello"):
            print(piece, end="")

The names below are imported on first use, so that `--help` works without importing an HTTP client.
They are described in docs/python.md.
"""

from __future__ import annotations

from importlib import import_module

from berlin._version import __version__ as __version__

TYPE_CHECKING = False  # as type checkers know it, without the import of `typing`

if TYPE_CHECKING:
    from berlin import errors
    from berlin.client import Berlin
    from berlin.errors import BerlinError
    from berlin.g4f import AsyncGeneratorProvider, AsyncResult
    from berlin.providers.conversation import Conversation
    from berlin.providers.facade import ChatProvider
    from berlin.routing.balance import Balance
    from berlin.routing.breaker import Breaker
    from berlin.routing.cache import Cache
    from berlin.routing.fallback import Fallback
    from berlin.routing.hedge import Hedge
    from berlin.routing.hold import Hold
    from berlin.routing.limit import Limit
    from berlin.routing.model import Model
    from berlin.routing.pool import Pool
    from berlin.routing.retry import Retry
    from berlin.types import (
        ChatRequest,
        ChatResponse,
        FilePart,
        Finished,
        ImagePart,
        Message,
        Messages,
        Reasoning,
        ReasoningDelta,
        ReasoningPart,
        ResponseFormat,
        Started,
        StreamEvent,
        TextDelta,
        TextPart,
        Timeouts,
        Tool,
        ToolCallDelta,
        ToolCallPart,
        ToolResultPart,
        Usage,
        UsageReport,
    )

_WRAPPERS = (
    *("Balance", "Breaker", "Cache", "Fallback", "Hedge"),
    *("Hold", "Limit", "Model", "Pool", "Retry"),
)

# All other names are types.
_HOMES = {
    **{name: f"berlin.routing.{name.lower()}" for name in _WRAPPERS},
    "AsyncGeneratorProvider": "berlin.g4f",
    "AsyncResult": "berlin.g4f",
    "Berlin": "berlin.client",
    "BerlinError": "berlin.errors",
    "ChatProvider": "berlin.providers.facade",
    "Conversation": "berlin.providers.conversation",
}

__all__ = [
    "AsyncGeneratorProvider",
    "AsyncResult",
    "Balance",
    "Berlin",
    "BerlinError",
    "Breaker",
    "Cache",
    "ChatProvider",
    "ChatRequest",
    "ChatResponse",
    "Conversation",
    "Fallback",
    "FilePart",
    "Finished",
    "Hedge",
    "Hold",
    "ImagePart",
    "Limit",
    "Message",
    "Messages",
    "Model",
    "Pool",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningPart",
    "ResponseFormat",
    "Retry",
    "Started",
    "StreamEvent",
    "TextDelta",
    "TextPart",
    "Timeouts",
    "Tool",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolResultPart",
    "Usage",
    "UsageReport",
    "errors",
]


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module("berlin.errors")
    if name not in __all__:
        raise AttributeError(f"module 'berlin' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "berlin.types")), name)


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted([*__all__, "__version__", "__doc__", "__name__", "__path__", "__file__"])
