"""Where a service embeds texts."""

from __future__ import annotations

from typing import Literal

import msgspec


class EmbeddingsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[embeddings]`: where the service turns texts into vectors.

    Attributes:
        format: `openai` or `ollama`: what requests and answers look like.
        path: where they are posted, below the endpoint's URL; unless given, `/embeddings` or
            `/api/embed`.
        model: what is asked when nobody names a model.
        models: the models, as far as they are known.
    """

    format: Literal["openai", "ollama"]
    path: str = ""
    model: str = ""
    models: tuple[str, ...] = ()
