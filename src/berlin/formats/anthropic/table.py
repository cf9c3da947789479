"""Members of Anthropic's API in other dialects, and members of other dialects here.

Source: Anthropic's API reference, with its beta features (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table, fates

DIALECT = "anthropic"

BETA = "anthropic-beta"
"""The header that enables beta features; it travels with the request."""

TABLE = Table(
    DIALECT,
    own=fates(
        refused="""
            container inference_geo mcp_servers
            content.type.container_upload
        """,
        dropped="""
            anthropic-beta cache_control context_management service_tier speed
            content.cache_control content.citations content.context
            content.type.redacted_thinking
            reasoning.signature
            tool_calls.cache_control tool_calls.caller
            tool_results.cache_control
            tools.cache_control tools.defer_loading tools.eager_input_streaming
            tools.input_examples tools.allowed_callers
        """,
        translated="""
            metadata output_config thinking
            response_format.output_format
            messages.content messages.role messages.continues
            content.source content.title
            tool_results.content
            tools.type tools.strict
        """,
    ),
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
