"""Embeddings, for providers whose recipe describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.embeddings.build import build_embeddings
from berlin.formats.embeddings.contract import MAX_ANSWER_BYTES, VECTOR_BYTES
from berlin.language.tables.models import EmbeddingsMap
from berlin.providers.http import HttpProvider
from berlin.transport.sender import MAX_WHOLE_BODY_BYTES, off_loop
from berlin.types.embeddings import EmbeddingRequest, Embeddings


class Embedder(NamedTuple):
    """An embedding provider, as the gateway offers it.

    Attributes:
        embed: returns the vectors of texts. Raises BerlinError.
        models: the known models.
        default: the model used when a request names none; `""` if there is none.
    """

    embed: Callable[[EmbeddingRequest], Awaitable[Embeddings]]
    models: tuple[str, ...] = ()
    default: str = ""


async def embed(
    provider: HttpProvider, described: EmbeddingsMap, request: EmbeddingRequest
) -> Embeddings:
    """Return the vectors of texts.

    Args:
        provider: the provider of the service.
        described: the service's description.
        request: the request.

    Raises:
        BerlinError: if there is no valid response.
    """
    if not request.model:
        if not described.model:
            raise InvalidRequestError.about("model", "name a model: the recipe has no default")
        request = msgspec.structs.replace(request, model=described.model)
    dialect = build_embeddings(described)
    sent = dialect.encode_request(request, described.path or dialect.path)
    count = len(request.inputs)
    limit = min(MAX_WHOLE_BODY_BYTES + count * VECTOR_BYTES, MAX_ANSWER_BYTES)
    answer = await provider.call(sent, request.request_id, limit)
    return await off_loop(len(answer.body), lambda: dialect.decode_response(answer.body, count))
