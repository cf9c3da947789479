"""Members of the Responses API in other dialects, and those that are refused here.

Source: OpenAI's API reference (its models in openai-python 3.57), the Open Responses specification,
and what Codex 0.171 sends (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.table import Table

DIALECT = "responses"

TRANSLATED = frozenset(
    {
        *("input", "instructions", "model", "stream", "tools", "tool_choice", "text", "reasoning"),
        *("parallel_tool_calls", "max_output_tokens", "temperature", "top_p"),
        *("presence_penalty", "frequency_penalty", "previous_response_id", "user"),
    }
)
"""Members known to the hub, or handled by the gateway itself."""

CONSUMED = frozenset({"background", "conversation", "prompt", "client_metadata", "stream_options"})
"""Members that are not passed on: they are refused, or concern only the client or the transfer."""

_REFUSED: Mapping[str, str] = {
    "background": "answers are not made in the background here; leave it out and stream",
    "conversation": "conversations are not kept here; use previous_response_id",
    "prompt": "prompt templates are not kept here; send instructions and input",
}

TABLE = Table(
    DIALECT,
    own={
        # The request. Unlisted members are dropped: they say how an answer is made, stored or
        # billed, and not what is asked for.
        "include": "translated",  # encrypted reasoning is always included
        "metadata": "translated",  # kept with the response, and part of it
        "store": "translated",  # handled by the gateway
        "summary": "translated",  # reasoning is always shown as a summary
        "prompt_cache_key": "dropped",
        "truncation": "dropped",
        # Messages and items.
        "messages.id": "translated",
        "messages.instructions": "translated",
        "messages.phase": "dropped",
        "messages.status": "translated",
        "content.annotations": "dropped",
        "content.detail": "dropped",
        "content.input_audio": "translated",
        "content.item": "translated",
        "content.logprobs": "dropped",
        "content.type": "translated",
        "content.type.additional_tools": "translated",
        # What a service did itself has become part of its answer's text.
        "content.type.code_interpreter_call": "dropped",
        "content.type.file_search_call": "dropped",
        "content.type.image_generation_call": "dropped",
        "content.type.mcp_call": "dropped",
        "content.type.mcp_list_tools": "dropped",
        "content.type.tool_search_call": "dropped",
        "content.type.tool_search_output": "dropped",
        "content.type.web_search_call": "dropped",
        "reasoning.content": "translated",
        "reasoning.encrypted_content": "dropped",
        "reasoning.id": "translated",
        "reasoning.status": "translated",
        "reasoning.summary": "translated",
        "tool_calls.id": "translated",
        "tool_calls.status": "translated",
        "tool_calls.type": "translated",
        "tool_results.id": "translated",
        "tool_results.status": "translated",
        "tool_results.type": "translated",
        "tools.description": "translated",
        "tools.format": "translated",
        "tools.name": "translated",
        "tools.namespace": "translated",
        "tools.type": "translated",
    },
    lacks={
        "logit_bias": "refused",
        "stop": "refused",
        "min_p": "dropped",
        "seed": "dropped",
    },
    shares=frozenset(
        {
            *("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
            *("service_tier", "store", "user", "content.detail"),
        }
    ),
)

NEUTRAL: Mapping[str, Any] = {
    "service_tier": "default",
    "truncation": "disabled",
    "annotations": [],
    "logprobs": [],
}
"""Values without effect in this API: its clients send them by default."""


def has_effect(name: str, value: Any) -> bool:
    """Return whether a member has any effect at this value."""
    return value is not None and not (name in NEUTRAL and value == NEUTRAL[name])


def check_refused(members: Mapping[str, Any]) -> None:
    """Refuse what is not supported.

    Raises:
        InvalidRequestError: the error names the member and what to send instead.
    """
    for name, why in _REFUSED.items():
        if members.get(name) not in (None, False):
            raise InvalidRequestError.about(name, why)
