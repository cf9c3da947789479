"""Members of the Responses API in other dialects, and those that are refused here.

Source: OpenAI's API reference (its models in openai-python 3.57), the Open Responses specification,
and what Codex 0.171 sends (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.formats.table import Table, fates

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

# Encrypted reasoning is always included, reasoning is always shown as a summary, and `store` and
# `metadata` are the gateway's own. What a service did itself (`…_call`) has become part of its
# answer's text.
TABLE = Table(
    DIALECT,
    own=fates(
        dropped="""
            prompt_cache_key truncation
            messages.phase
            content.annotations content.detail content.logprobs
            content.type.code_interpreter_call content.type.file_search_call
            content.type.image_generation_call content.type.mcp_call content.type.mcp_list_tools
            content.type.tool_search_call content.type.tool_search_output
            content.type.web_search_call
            reasoning.encrypted_content
        """,
        translated="""
            include metadata store summary
            messages.id messages.instructions messages.status
            content.input_audio content.item content.type content.type.additional_tools
            reasoning.content reasoning.id reasoning.status reasoning.summary
            tool_calls.id tool_calls.status tool_calls.type
            tool_results.id tool_results.status tool_results.type
            tools.description tools.format tools.name tools.namespace tools.type
        """,
    ),
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
