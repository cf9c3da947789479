"""Members of Ollama's API in other dialects, and members of other dialects here.

Source: Ollama's API reference and the types of its server (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table

DIALECT = "ollama"

TABLE = Table(
    DIALECT,
    own={
        # How a model is loaded and run is up to the service.
        "keep_alive": "dropped",
        "logprobs": "dropped",
        "options": "dropped",
        "think": "translated",
        "top_logprobs": "dropped",
        "truncate": "dropped",
        "shift": "dropped",
        "tool_calls.made_id": "translated",
        "tool_calls.function": "translated",
        "tool_results.made_id": "translated",
        "tool_results.tool_name": "translated",
    },
    lacks={
        "logit_bias": "refused",
        "parallel_tool_calls": "refused",
        "strict": "dropped",
        "user": "dropped",
        "verbosity": "dropped",
    },
)
