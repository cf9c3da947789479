"""How many tokens an answer has cost."""

from __future__ import annotations

import msgspec

from berlin.types.extra import MaybeExtra


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens.

    Attributes:
        input_tokens: tokens of the request.
        output_tokens: tokens of the answer, reasoning included.
        estimated: whether Berlin guessed the numbers, because the service gave none.
        cached_tokens: how many of the request's tokens the service had in its cache.
        reasoning_tokens: how many of the answer's tokens were reasoning.
        cache_write_tokens: how many of the request's tokens were written to the service's cache.
        extra: what else the service's dialect counts.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    extra: MaybeExtra = None


CHARS_PER_TOKEN = 4
"""What a token has on average. Real tokenizers differ by model and download vocabularies."""


def estimate_tokens(chars: int) -> int:
    """Return a guess of how many tokens a text of that many characters is."""
    return -(-chars // CHARS_PER_TOKEN)
