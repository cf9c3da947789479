"""The table `[embeddings]` of a recipe: where a service embeds texts."""

from __future__ import annotations

from typing import Literal

import msgspec


class EmbeddingsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[embeddings]`: where the service turns texts into vectors.

    Attributes:
        format: `openai` or `ollama`: the format of requests and responses.
        path: where they are posted, below the endpoint's URL; by default `/embeddings` or
            `/api/embed`.
        model: the model used when a request names none.
        models: the known models.
    """

    format: Literal["openai", "ollama"]
    path: str = ""
    model: str = ""
    models: tuple[str, ...] = ()
