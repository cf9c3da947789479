"""Embeddings: what is asked, and the vectors that come of it."""

from __future__ import annotations

import sys
from array import array

import msgspec


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """What is asked of a provider that embeds.

    Attributes:
        inputs: one or more texts, or the tokens of them where the service takes those.
        model: the service's name of the model; `""` is the provider's default.
        dimensions: how long each vector is to be; `None` leaves it to the service.
        request_id: the caller's id of this request, which is told to the service.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    model: str = ""
    dimensions: int | None = None
    request_id: str = ""


class Embeddings(msgspec.Struct, frozen=True):
    """One vector for each input, in their order.

    Attributes:
        vectors: each as 32-bit floats in little-endian order.
        input_tokens: tokens of all inputs, or `None` where the service does not say.
    """

    vectors: tuple[bytes, ...]
    input_tokens: int | None = None


def vector_of(data: bytes) -> list[float]:
    """Return the numbers of a vector."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
