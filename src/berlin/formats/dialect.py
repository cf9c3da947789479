"""The base of the formats of known dialects."""

from __future__ import annotations

import hashlib
import string
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from berlin.errors import InvalidRequestError
from berlin.formats.contract import Exchange, Format
from berlin.formats.table import Carrier, Table
from berlin.language.tables.chat import ChatMap
from berlin.types import ChatRequest, HttpRequest
from berlin.wire.json import encode_body
from berlin.wire.status import EXPLANATIONS, describe_error

CACHE_MARKERS = frozenset({"content.cache_control", "tool_results.cache_control"})


class DialectFormat(Format):
    """One dialect, both ways.

    Args:
        default_model: the model of requests that name none.
        chat: how the service differs from the dialect; a request may override members of `json`.

    Attributes:
        table: what becomes of members of other dialects.
        renamed: the dialect's names of options.
        reserved: members that the format itself sets.
    """

    chat_path: ClassVar[str]
    table: ClassVar[Table]
    renamed: ClassVar[Mapping[str, str]] = {}
    reserved: ClassVar[frozenset[str]]
    content_type = "text/event-stream; charset=utf-8"
    poll_s = None

    def __init__(self, default_model: str = "", chat: ChatMap = ChatMap()) -> None:  # noqa: B008  # frozen
        self._default_model = default_model
        self._chat = chat
        self._defaults = dict(chat.json or {})
        self._rename = {**self.renamed, **chat.rename}
        self._rename.pop("model", None)  # not an option; see `AroundFormat`
        self._prepare()

    def _prepare(self) -> None:
        """Prepare the defaults of this dialect; they are new for each format."""

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests; see `Format`."""
        yield from ()  # no preparation is needed
        chat = self._chat
        carrier = Carrier(self.table, CACHE_MARKERS if chat.cache_markers else frozenset())
        for name in request.options:
            if name in self.reserved:
                raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        streams = request.stream if chat.stream == "as asked" else chat.stream != "never"
        headers = {
            "Content-Type": "application/json",
            "Accept": self.content_type.partition(";")[0] if streams else "application/json",
        }
        body = encode_body(self._document(request, carrier, headers, streams=streams))
        return HttpRequest(
            "POST", chat.path or self.chat_path, headers, body=body, dropped=carrier.dropped
        )

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response."""
        return describe_error(body, EXPLANATIONS)

    @abstractmethod
    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        """Return the body of a request, and add its own headers."""


def fit_id(id: str, length: int) -> str:
    """Return the id of a tool call with this many letters and digits; 0 leaves it unchanged."""
    if not length or (len(id) == length and id.isascii() and id.isalnum()):
        return id
    number = int.from_bytes(hashlib.sha256(id.encode()).digest())
    return "".join(_LETTERS[(number // 62**n) % 62] for n in range(length))


_LETTERS = string.ascii_letters + string.digits
