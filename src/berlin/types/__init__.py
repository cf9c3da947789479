"""Frozen values: messages, requests, events. No I/O, no policy."""

from berlin.types.accumulate import Accumulator, ChatResponse, accumulate
from berlin.types.endpoint import Endpoint, is_loopback, mask_url
from berlin.types.events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from berlin.types.http import HttpRequest, HttpResponse
from berlin.types.messages import (
    ImagePart,
    Message,
    Messages,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    parse_messages,
)
from berlin.types.request import ChatRequest, Tool
from berlin.types.secret import Secret, mask
from berlin.types.timeouts import Timeouts
from berlin.types.usage import Usage

__all__ = [
    "Accumulator",
    "ChatRequest",
    "ChatResponse",
    "Endpoint",
    "FinishReason",
    "Finished",
    "HttpRequest",
    "HttpResponse",
    "ImagePart",
    "Message",
    "Messages",
    "Part",
    "ReasoningDelta",
    "Role",
    "Secret",
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
    "accumulate",
    "is_loopback",
    "mask",
    "mask_url",
    "parse_messages",
]
