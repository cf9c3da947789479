"""The fate of members of OpenAI's chat completions in other dialects.

Source: OpenAI's API reference of chat completions, and what vLLM, OpenRouter, Google, DeepSeek,
Mistral and others add to it (2026-11).
"""

from __future__ import annotations

from berlin.formats.table import Table, fates

DIALECT = "openai"

DONE = b"[DONE]"
"""The data of the event that ends a stream."""

REASONING = ("reasoning_content", "reasoning", "reasoning_text")
"""Members in which services of this dialect send reasoning; the first is the most common."""

ONCE: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "created": int,
    "system_fingerprint": str,
    "service_tier": str,
}
"""Members of an answer that are the same in each of its chunks, with their types."""

# Most members of a request change how an answer is made, stored or billed, and not what is asked.
# Anthropic's dialect has `content.cache_control` too.
TABLE = Table(
    DIALECT,
    own=fates(
        refused="""
            audio grammar guided_choice guided_grammar guided_json guided_regex logprobs modalities
            response_format structured_outputs tool_choice top_logprobs web_search_options
        """,
        dropped="""
            chat_template_kwargs enable_thinking metadata prediction prompt_cache_key
            prompt_cache_retention repetition_penalty safety_identifier service_tier store
            messages.name messages.audio messages.annotations messages.function_call
            content.detail content.cache_control
            reasoning.reasoning_details
            tool_calls.extra_content
            tools.cache_control
        """,
        translated="""
            function_call functions reasoning thinking stream_options
            messages.content messages.older_form
            content.type content.file content.input_audio content.refusal content.thinking
            reasoning.reasoning reasoning.reasoning_content reasoning.reasoning_text
            tool_calls.older_form tool_calls.type
            tools.older_form tools.strict
        """,
    ),
    shares=frozenset({"content.detail"}),
)
