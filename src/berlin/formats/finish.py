"""Maps services' finish reasons: an answer that was cut must never look complete."""

from __future__ import annotations

import re

from berlin.types import FinishReason

_MEANT: dict[FinishReason, str] = {
    "stop": """
        stop stop_sequence end_turn end eos eos_token eos_found stop_token complete completed
        finish finished done normal
    """,
    "length": """
        length max_tokens max_token max_length max_output_tokens max_completion_tokens
        max_new_tokens model_length token_limit context_length context_window
        model_context_window_exceeded truncated incomplete
    """,
    "tool_calls": """
        tool_calls tool_call tool_use function_call
    """,
    "content_filter": """
        content_filter content_filtered safety sensitive refusal blocked blocklist blacklist
        prohibited_content recitation spii image_safety guardrail_intervened language other
    """,
}
_WORDS = {word: reason for reason, words in _MEANT.items() for word in words.split()}

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
