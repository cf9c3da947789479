"""Members of Ollama's API in other dialects, and members of other dialects here.

Source: Ollama's API reference and the types of its server (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table, fates

DIALECT = "ollama"

# How a model is loaded and run is up to the service.
TABLE = Table(
    DIALECT,
    own=fates(
        refused="""
            logprobs top_logprobs
        """,
        dropped="""
            keep_alive options truncate shift
        """,
        translated="""
            think
            tool_calls.made_id tool_calls.function
            tool_results.made_id tool_results.tool_name
        """,
    ),
    lacks={
        "logit_bias": "refused",
        "parallel_tool_calls": "refused",
        "strict": "dropped",
        "user": "dropped",
        "verbosity": "dropped",
    },
)
