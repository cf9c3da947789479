"""A built-in format with a recipe's additions: headers, parameters, a path, more requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import ConfigurationError
from berlin.formats.contract import Exchange, Format
from berlin.formats.described.plan import ChatPlan
from berlin.language.tables.chat import ChatMap
from berlin.language.tables.conversation import NAMES
from berlin.language.values.template import ABSENT, Template
from berlin.language.values.text import parse_text
from berlin.types import ChatRequest, HttpRequest
from berlin.wire.json import encode_body

# Placeholders only for described chats: a built-in format writes the messages itself.
_UNKNOWN_HERE = NAMES - {"conversation_id", "parent_id"}


def needs_more(chat: ChatMap) -> bool:
    """Return whether a recipe adds anything to a built-in format."""
    return bool(
        chat.query
        or chat.headers
        or chat.prepare
        or chat.after
        or chat.let
        or chat.omit
        or chat.method != "POST"
        or "model" in chat.rename
        or _has_placeholders(chat.path)
        or _has_placeholders(chat.json)
    )


class AroundFormat:
    """A format with a recipe around it; see `SessionFormat`. Raises ConfigurationError.

    Args:
        default_model: the model of requests that name none.
        session: the placeholders of the login.
    """

    poll_s: float | None = None

    def __init__(
        self, inner: Format, chat: ChatMap, default_model: str, session: frozenset[str]
    ) -> None:
        self._inner = inner
        # What is not about the request is the inner format's.
        self.decoder, self.describe_error = inner.decoder, inner.describe_error
        self.decode_request, self.encoder = inner.decode_request, inner.encoder
        self.encode_response, self.encode_error = inner.encode_response, inner.encode_error
        self._plan = ChatPlan(chat, session, "")
        self.content_type = inner.content_type
        self.prepare, self.after = self._plan.prepare, self._plan.after
        self.chat = self._plan.chat
        self._json = None if chat.json is None else Template(chat.json, self._plan.known)
        used = self._plan.used | (self._json.names if self._json is not None else set())
        self.session_names = frozenset(used & session)
        self._default_model = default_model
        self._model_name = chat.rename.get("model", "model")
        self._omit = chat.omit
        wrong = sorted(used & _UNKNOWN_HERE)
        if wrong:
            raise ConfigurationError(
                f"{{{wrong[0]}}}: the format {chat.format} writes the messages itself"
            )

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests, step by step; see `Format`."""
        return self.encode_with(request, {})

    def encode_with(self, request: ChatRequest, session: Mapping[str, Any]) -> Exchange:
        """Return the requests, with values of the login; see `SessionFormat`."""
        call = yield from self._inner.encode_request(request)
        values = {
            **dict.fromkeys(NAMES, ABSENT),
            "model": request.model or self._default_model,
            "conversation_id": request.conversation_id or ABSENT,
            "parent_id": request.parent_id or ABSENT,
        }
        around, filled = yield from self._plan.run(
            request, lambda _: values, session, lambda step, filled: step.document(filled)
        )
        accept = {"Accept": call.headers.get("Accept", "*/*")}
        return msgspec.structs.replace(
            around,
            headers={**call.headers, **around.headers, **accept},
            body=self._body(call, filled),
            dropped=call.dropped,
        )

    def _body(self, call: HttpRequest, values: Mapping[str, Any]) -> bytes:
        if self._json is None and not self._omit and self._model_name == "model":
            return call.body
        document = msgspec.json.decode(call.body)
        more = self._json.render(values) if self._json is not None else {}
        document = {**more, **document}
        if self._model_name != "model" and "model" in document:
            document[self._model_name] = document.pop("model")
        for name in self._omit:
            document.pop(name, None)
        return encode_body(document)


def _has_placeholders(tree: Any) -> bool:
    match tree:
        case str():
            return any(not isinstance(piece, str) for piece in parse_text(tree))
        case dict():
            return any(map(_has_placeholders, tree.values()))
        case list():
            return any(map(_has_placeholders, tree))
        case _:
            return False
