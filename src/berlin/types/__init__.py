"""Frozen values: messages, requests, events. No I/O, no policy."""

from berlin.types.accumulate import Accumulator, AnswerLimit, ChatResponse, accumulate
from berlin.types.endpoint import (
    Endpoint,
    is_loopback,
    is_metadata_service,
    mask_url,
    split_url,
)
from berlin.types.events import (
    ExtraDelta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    StreamEvent,
    TextDelta,
    TextReplaced,
    ToolCallDelta,
    UsageReport,
)
from berlin.types.extra import Extra, MaybeExtra, extra_of, make_extra, merge_extra
from berlin.types.http import HttpRequest, HttpResponse, fits_header
from berlin.types.masking import mask
from berlin.types.messages import (
    FilePart,
    ImagePart,
    Message,
    Messages,
    OpaquePart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    parse_messages,
)
from berlin.types.nearest import nearest, suggest
from berlin.types.request import ChatRequest, Reasoning, ResponseFormat, Tool
from berlin.types.secret import Identity, Secret
from berlin.types.timeouts import Timeouts
from berlin.types.usage import Usage

__all__ = [
    "Accumulator",
    "AnswerLimit",
    "ChatRequest",
    "ChatResponse",
    "Endpoint",
    "Extra",
    "ExtraDelta",
    "FilePart",
    "FinishReason",
    "Finished",
    "HttpRequest",
    "HttpResponse",
    "Identity",
    "ImagePart",
    "MaybeExtra",
    "Message",
    "Messages",
    "OpaquePart",
    "Part",
    "Reasoning",
    "ReasoningDelta",
    "ReasoningPart",
    "ResponseFormat",
    "Role",
    "Secret",
    "Started",
    "StreamEvent",
    "TextDelta",
    "TextPart",
    "TextReplaced",
    "Timeouts",
    "Tool",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolResultPart",
    "Usage",
    "UsageReport",
    "accumulate",
    "extra_of",
    "fits_header",
    "is_loopback",
    "is_metadata_service",
    "make_extra",
    "mask",
    "mask_url",
    "merge_extra",
    "nearest",
    "parse_messages",
    "split_url",
    "suggest",
]
