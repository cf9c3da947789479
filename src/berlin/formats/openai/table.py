"""The fate of members of OpenAI's chat completions in other dialects.

Source: OpenAI's API reference of chat completions, and what vLLM, OpenRouter, Google, DeepSeek,
Mistral and others add to it (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table

DIALECT = "openai"

REASONING = ("reasoning_content", "reasoning", "reasoning_text")
"""Members in which services of this dialect send reasoning; the first is the most common."""

ONCE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "created": int,
    "system_fingerprint": str,
    "service_tier": str,
}
"""Members of an answer that are the same in each of its chunks, with their types."""

TABLE = Table(
    DIALECT,
    own={
        # The request. Most of them change how an answer is made, stored or billed, and not what is
        # asked for; what is not listed is dropped.
        "audio": "refused",
        "function_call": "translated",
        "functions": "translated",
        "grammar": "refused",
        "guided_choice": "refused",
        "guided_grammar": "refused",
        "guided_json": "refused",
        "guided_regex": "refused",
        "modalities": "refused",
        "response_format": "refused",
        "structured_outputs": "refused",
        "tool_choice": "refused",
        "web_search_options": "refused",
        "chat_template_kwargs": "dropped",
        "enable_thinking": "dropped",
        "logprobs": "dropped",
        "metadata": "dropped",
        "prediction": "dropped",
        "prompt_cache_key": "dropped",
        "prompt_cache_retention": "dropped",
        "repetition_penalty": "dropped",
        "safety_identifier": "dropped",
        "service_tier": "dropped",
        "store": "dropped",
        "top_logprobs": "dropped",
        "reasoning": "translated",
        "thinking": "translated",
        "stream_options": "translated",
        # Messages and their parts.
        "messages.content": "translated",
        "messages.name": "dropped",
        "messages.audio": "dropped",
        "messages.annotations": "dropped",
        "messages.function_call": "dropped",
        "content.type": "translated",
        "content.detail": "dropped",
        "content.cache_control": "dropped",  # but Anthropic's dialect has the same
        "content.file": "translated",
        "content.input_audio": "translated",
        "content.refusal": "translated",
        "content.thinking": "translated",
        "reasoning.reasoning": "translated",
        "reasoning.reasoning_content": "translated",
        "reasoning.reasoning_text": "translated",
        "reasoning.reasoning_details": "dropped",
        "tool_calls.extra_content": "dropped",
        "messages.older_form": "translated",
        "tool_calls.older_form": "translated",
        "tool_calls.type": "translated",
        "tools.older_form": "translated",
        "tools.strict": "translated",
        "tools.cache_control": "dropped",
    },
    lacks={},
    shares=frozenset({"content.detail"}),
)
