"""Members of Anthropic's API in other dialects, and members of other dialects here.

Source: Anthropic's API reference, with its beta features (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table

DIALECT = "anthropic"

BETA = "anthropic-beta"
"""The header that enables beta features; it travels with the request."""

TABLE = Table(
    DIALECT,
    own={
        # The request.
        BETA: "dropped",
        "cache_control": "dropped",
        "container": "refused",
        "context_management": "dropped",
        "inference_geo": "refused",
        "mcp_servers": "refused",
        "metadata": "translated",
        "output_config": "translated",
        "response_format.output_format": "translated",
        "service_tier": "dropped",
        "speed": "dropped",
        "thinking": "translated",
        # Messages and their blocks.
        "messages.content": "translated",
        "messages.role": "translated",
        "messages.continues": "translated",
        "content.cache_control": "dropped",
        "content.citations": "dropped",
        "content.context": "dropped",
        "content.source": "translated",
        "content.title": "translated",
        "content.type.redacted_thinking": "dropped",
        "content.type.container_upload": "refused",
        "reasoning.signature": "dropped",
        "tool_calls.cache_control": "dropped",
        "tool_calls.caller": "dropped",
        "tool_results.cache_control": "dropped",
        "tool_results.content": "translated",
        "tools.cache_control": "dropped",
        "tools.type": "translated",
        "tools.strict": "translated",
        "tools.defer_loading": "dropped",
        "tools.eager_input_streaming": "dropped",
        "tools.input_examples": "dropped",
        "tools.allowed_callers": "dropped",
    },
    lacks={
        "frequency_penalty": "refused",
        "logit_bias": "refused",
        "presence_penalty": "refused",
        "min_p": "dropped",
        "seed": "dropped",
        "verbosity": "dropped",
    },
    shares=frozenset({"content.cache_control", "tools.cache_control"}),
)
