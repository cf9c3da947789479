"""Maps services' finish reasons: an answer that was cut must never look complete."""

from __future__ import annotations

import re

from berlin.types import FinishReason

_WORDS: dict[str, FinishReason] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "end": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "eos_found": "stop",
    "stop_token": "stop",
    "complete": "stop",
    "completed": "stop",
    "finish": "stop",
    "finished": "stop",
    "done": "stop",
    "normal": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_token": "length",
    "max_length": "length",
    "max_output_tokens": "length",
    "max_completion_tokens": "length",
    "max_new_tokens": "length",
    "model_length": "length",
    "token_limit": "length",
    "context_length": "length",
    "context_window": "length",
    "model_context_window_exceeded": "length",
    "truncated": "length",
    "incomplete": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "refusal": "content_filter",
    "blocked": "content_filter",
    "blocklist": "content_filter",
    "blacklist": "content_filter",
    "prohibited_content": "content_filter",
    "recitation": "content_filter",
    "spii": "content_filter",
    "image_safety": "content_filter",
    "guardrail_intervened": "content_filter",
    "language": "content_filter",
    "other": "content_filter",
}

# Substrings that reveal the meaning of unlisted words.
_HINTS: tuple[tuple[FinishReason, frozenset[str]], ...] = (
    ("content_filter", frozenset({"filter", "filtered", "safety", "blocked", "prohibited"})),
    ("tool_calls", frozenset({"tool", "tools", "function"})),
    ("length", frozenset({"length", "max", "limit", "truncated", "exceeded", "incomplete"})),
)

BROKEN_OFF = frozenset(
    {
        *("error", "failed", "failure", "internal_error", "network_error", "server_error"),
        *("insufficient_system_resource", "abort", "aborted", "cancelled", "canceled"),
        *("timeout", "malformed_function_call", "unexpected_tool_call"),
    }
)
"""Finish reasons of answers that the service could not complete."""


def normalize_word(word: str) -> str:
    """Return a word of a service in lower case with underscores: `MAX_TOKENS`, `maxTokens`."""
    split = _CAMEL.sub("_", word.strip()) if not word.isupper() else word.strip()
    return _BETWEEN.sub("_", split).lower()


_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BETWEEN = re.compile(r"[\s.-]+")


def is_finish_word(text: str) -> bool:
    """Return whether a text is a word for a finish reason, as it is usually written."""
    return text in _WORDS


def finish_reason_of(word: str) -> FinishReason:
    """Return the meaning of a finish reason; an unknown one is `stop`."""
    normal = normalize_word(word).removeprefix("finish_reason_")
    if (known := _WORDS.get(normal)) is not None:
        return known
    pieces = frozenset(normal.split("_"))
    return next((reason for reason, hints in _HINTS if pieces & hints), "stop")
