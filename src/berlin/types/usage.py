"""How many tokens an answer has cost."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Counts of tokens.

    Attributes:
        input_tokens: tokens of the request.
        output_tokens: tokens of the answer, reasoning included.
        estimated: whether Berlin guessed the numbers, because the service gave none.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
