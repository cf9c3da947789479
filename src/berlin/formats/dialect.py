"""The base of the formats of known dialects, and how services of one dialect differ."""

from __future__ import annotations

import hashlib
import string
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from berlin.errors import InvalidRequestError
from berlin.formats.contract import Exchange, Format
from berlin.formats.table import Carrier, Table
from berlin.language.tables.chat import ReasoningBack, StreamMode
from berlin.types import ChatRequest, HttpRequest
from berlin.wire.json import encode_body
from berlin.wire.status import EXPLANATIONS, describe_error

CACHE_MARKERS = frozenset({"content.cache_control", "tool_results.cache_control"})


class Habits(msgspec.Struct, frozen=True):
    """Differences between services of one dialect, set by a recipe.

    Attributes:
        stream: whether to request streamed answers: `always`, `never`, or `as asked` by the client.
        developer_role: what the service calls the role `developer`.
        tool_id_length: if not 0, ids of tool calls must be this many letters and digits.
        text_content: whether a text-only message must be one string, never a list.
        reasoning_back: how the reasoning of earlier turns is sent back.
        cache_markers: whether Anthropic's markers of what to cache are taken.
    """

    stream: StreamMode = "always"
    developer_role: str = "system"
    tool_id_length: int = 0
    text_content: bool = False
    reasoning_back: ReasoningBack = "any"
    cache_markers: bool = False

    def streams(self, asked: bool) -> bool:
        """Return whether to request a streamed answer."""
        return self.stream == "always" or (self.stream == "as asked" and asked)

    def tool_id(self, id: str) -> str:
        """Return the id of a tool call in the form the service accepts; deterministic."""
        length = self.tool_id_length
        if not length or (len(id) == length and id.isascii() and id.isalnum()):
            return id
        number = int.from_bytes(hashlib.sha256(id.encode()).digest())
        return "".join(_LETTERS[(number // 62**n) % 62] for n in range(length))


_LETTERS = string.ascii_letters + string.digits

NO_HABITS = Habits()


class DialectFormat(Format):
    """One dialect, both ways.

    Args:
        default_model: the model of requests that name none.
        path: where the chat is posted, below the endpoint's URL; by default the dialect's.
        defaults: members of the body that a request may override.
        rename: the service's names of options.
        habits: other differences of the service.

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

    def __init__(
        self,
        default_model: str = "",
        path: str = "",
        defaults: Mapping[str, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        habits: Habits = NO_HABITS,
    ) -> None:
        self._default_model = default_model
        self._path = path or self.chat_path
        self._defaults = dict(defaults or {})
        self._rename = {**self.renamed, **(rename or {})}
        self._habits = habits
        self._prepare()

    def _prepare(self) -> None:
        """Prepare the defaults of this dialect; they are new for each format."""

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests; see `Format`."""
        yield from ()  # no preparation is needed
        carrier = Carrier(self.table, CACHE_MARKERS if self._habits.cache_markers else frozenset())
        for name in request.options:
            if name in self.reserved:
                raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        streams = self._habits.streams(request.stream)
        headers = {
            "Content-Type": "application/json",
            "Accept": self.content_type.partition(";")[0] if streams else "application/json",
        }
        body = encode_body(self._document(request, carrier, headers, streams=streams))
        return HttpRequest("POST", self._path, headers, body=body, dropped=carrier.dropped)

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response."""
        return describe_error(body, EXPLANATIONS)

    @abstractmethod
    def _document(
        self, request: ChatRequest, carrier: Carrier, headers: dict[str, str], *, streams: bool
    ) -> dict[str, Any]:
        """Return the body of a request, and add its own headers."""
