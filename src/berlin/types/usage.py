"""Token counts of an answer."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from berlin.types.extra import MaybeExtra

Half: TypeAlias = Literal["input_tokens", "output_tokens"]
HALVES: tuple[Half, ...] = ("input_tokens", "output_tokens")


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens. What a service does not report is `None`, or of the first two estimated.

    Attributes:
        input_tokens: tokens of the request.
        output_tokens: tokens of the answer, reasoning included.
        estimated: whether Berlin estimated the numbers because the service gave none.
        cached_tokens: the request's tokens that came from the service's cache.
        reasoning_tokens: the answer's tokens that were reasoning.
        cache_write_tokens: the request's tokens that were written to the service's cache.
        extra: other counts of the service's dialect.
        lacks: the count that the service left out, until it is estimated; it is 0 here.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    extra: MaybeExtra = None
    lacks: Half | None = None


CHARS_PER_TOKEN = 4
"""The average length of a token. Real tokenizers differ by model and download vocabularies."""


def estimate_tokens(chars: int) -> int:
    """Estimate the number of tokens in a text of this length."""
    return -(-chars // CHARS_PER_TOKEN)


def half_without(asked: int | None, answered: int | None) -> Half | None:
    """Return the half of a report that is missing, if the other is there."""
    return "input_tokens" if asked is None else "output_tokens" if answered is None else None


def usage_with(
    reported: Usage | None, input_tokens: int, chars: int, *, whole: bool = True
) -> Usage:
    """Return the usage of an answer: as the service reports it, and estimated where it does not.

    Args:
        reported: the service's report.
        input_tokens: an estimate of the request's tokens.
        chars: length of the answer.
        whole: whether the answer is complete: services report at the end.
    """
    output = estimate_tokens(chars)
    if reported is None:
        return Usage(input_tokens, output, estimated=True)
    if reported.lacks == "input_tokens":
        reported = msgspec.structs.replace(
            reported, input_tokens=input_tokens, estimated=True, lacks=None
        )
    if reported.lacks == "output_tokens" or (not whole and output > reported.output_tokens):
        return msgspec.structs.replace(reported, output_tokens=output, estimated=True, lacks=None)
    return reported
