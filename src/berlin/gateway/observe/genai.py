"""The names of OpenTelemetry's conventions for generative AI, as of one release.

Source: open-telemetry/semantic-conventions-genai, release 0.1.0 (2026), `docs/gen-ai/
client-inference.md`. None of the names is stable. A new release is a change of this module alone.
"""

from __future__ import annotations

from typing import Final

CONVENTIONS: Final = "https://opentelemetry.io/schemas/gen-ai/0.1.0"
"""Names the release in what is exported, in the form of the conventions' published schemas."""

# Attributes of spans and metrics.
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
STREAM: Final = "gen_ai.request.stream"
ERROR_TYPE: Final = "error.type"
MODALITY: Final = "gen_ai.token.modality"

# Attributes of spans.
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"

# Metrics: histograms in seconds, and counters and histograms of tokens.
DURATION: Final = "gen_ai.client.inference.duration"
FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
USED_INPUT: Final = "gen_ai.client.inference.usage.input_tokens"
USED_OUTPUT: Final = "gen_ai.client.inference.usage.output_tokens"
USED_CACHE_READ: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
USED_CACHE_WRITE: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
USED_REASONING: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
EACH_INPUT: Final = "gen_ai.client.inference.operation.input_tokens"
EACH_OUTPUT: Final = "gen_ai.client.inference.operation.output_tokens"

SECONDS: Final = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64),
    *(1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
TOKENS: Final = tuple(4**power for power in range(14))

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
# Services report totals, not what was text and what an image.
UNKNOWN_MODALITY: Final = "unknown"
OTHER: Final = "_OTHER"
