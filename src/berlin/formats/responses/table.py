"""What each member of a request means here: one place for what is refused, and for what is not.

Source: OpenAI's API reference and the Open Responses specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import InvalidRequestError

DIALECT = "responses"

TRANSLATED = frozenset(
    {
        *("input", "instructions", "model", "stream", "tools", "tool_choice", "text", "reasoning"),
        *("parallel_tool_calls", "max_output_tokens", "temperature", "top_p"),
        *("presence_penalty", "frequency_penalty", "previous_response_id"),
    }
)
"""Members that every service understands, or that the gateway itself carries out."""

CONSUMED = frozenset({"background", "conversation", "prompt", "client_metadata", "stream_options"})
"""Members that end here: they are refused, or say something about the client or the transfer."""

_REFUSED: Mapping[str, str] = {
    "background": "answers are not made in the background here; leave it out and stream",
    "conversation": "conversations are not kept here; use previous_response_id",
    "prompt": "prompt templates are not kept here; send instructions and input",
}

# Whatever else a client sends (`store`, `include`, `metadata`, `truncation`, `service_tier`,
# `prompt_cache_key`, `top_logprobs`, `max_tool_calls` …) goes unchanged to a service of this
# dialect; to others it is dropped, because it changes neither the text nor the calls.

HOSTED_BY_CLIENT = frozenset({"local_shell", "shell", "apply_patch"})
"""Tools of this API's own that the client runs; all other types but functions run at the service.
"""


def check_refused(members: Mapping[str, Any]) -> None:
    """Refuse what cannot be carried out.

    Raises:
        InvalidRequestError: it names the member and what to send instead.
    """
    for name, why in _REFUSED.items():
        if members.get(name) not in (None, False):
            raise InvalidRequestError.about(name, why)
