"""The models of a service: where it lists them, and those that embed texts."""

from __future__ import annotations

from typing import Literal

import msgspec

from berlin.errors import ProtocolError
from berlin.wire.json import DECODE_ERRORS, has_many_values
from berlin.wire.pointer import check_pointers, get_at, parse_pointer

MAX_MODELS = 10_000
MAX_VALUES = 2_000_000


class FetchMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[models.fetch]`: where the service lists its models.

    Attributes:
        path: the path requested with GET, below the endpoint's URL.
        list: pointer to the list in the answer; `""` if the answer itself is the list.
        id: pointer to the model's name in an item; `""` if the item is the name.
    """

    path: str
    list: str
    id: str = "/id"

    def __post_init__(self) -> None:
        check_pointers(self.list, self.id)

    def read(self, body: bytes) -> tuple[str, ...]:
        """Return the model names in an answer. Raises ProtocolError if there is no such list."""
        if has_many_values(body, MAX_VALUES):
            raise ProtocolError(f"the answer to {self.path} has more than {MAX_VALUES} values")
        try:
            document = msgspec.json.decode(body)
        except DECODE_ERRORS as error:
            raise ProtocolError(f"the answer to {self.path}: expected JSON") from error
        listed = get_at(document, parse_pointer(self.list)) if self.list else document
        if not isinstance(listed, list):
            raise ProtocolError(f"the answer to {self.path} has no list at {self.list!r}")
        at = parse_pointer(self.id) if self.id else ()
        names = (get_at(item, at) for item in listed[:MAX_MODELS])
        return tuple(name for name in names if isinstance(name, str) and name)


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
