"""Embeddings: the request, and the resulting vectors."""

from __future__ import annotations

import sys
from array import array

import msgspec

from berlin.types.secret import Identity
from berlin.types.usage import estimate_tokens


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """A request for embeddings.

    Attributes:
        inputs: one or more texts, or their tokens if the service accepts those.
        model: the service's name of the model; `""` is the provider's default.
        dimensions: the length of each vector; `None` leaves it to the service.
        request_id: the caller's id of this request, which is sent to the service.
        identity: as in `ChatRequest`.
    """

    inputs: tuple[str | tuple[int, ...], ...]
    model: str = ""
    dimensions: int | None = None
    request_id: str = ""
    identity: Identity | None = None

    @property
    def input_tokens(self) -> int:
        """An estimate of its tokens."""
        return sum(estimate_tokens(len(i)) if isinstance(i, str) else len(i) for i in self.inputs)


class Embeddings(msgspec.Struct, frozen=True):
    """One vector for each input, in their order.

    Attributes:
        vectors: each as 32-bit floats in little-endian order.
        input_tokens: tokens of all inputs, or `None` if the service does not say.
    """

    vectors: tuple[bytes, ...]
    input_tokens: int | None = None


def vector_of(data: bytes) -> list[float]:
    """Return the numbers of a vector."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()
