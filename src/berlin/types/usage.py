"""Token counts of an answer."""

from __future__ import annotations

import msgspec

from berlin.types.extra import MaybeExtra


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens.

    Attributes:
        input_tokens: tokens of the request.
        output_tokens: tokens of the answer, reasoning included.
        estimated: whether Berlin estimated the numbers because the service gave none.
        cached_tokens: the request's tokens that came from the service's cache.
        reasoning_tokens: the answer's tokens that were reasoning.
        cache_write_tokens: the request's tokens that were written to the service's cache.
        extra: other counts of the service's dialect.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0
    extra: MaybeExtra = None


CHARS_PER_TOKEN = 4
"""The average length of a token. Real tokenizers differ by model and download vocabularies."""


def estimate_tokens(chars: int) -> int:
    """Estimate the number of tokens in a text of this length."""
    return -(-chars // CHARS_PER_TOKEN)
