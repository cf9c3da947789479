"""A format that is described instead of programmed: pointers out, placeholders in.

It is compiled when it is made: the pointers to text become a msgspec type, so a described stream
is decoded in one call for all lines of a read, and everything that is not described is skipped
without being built.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.errors import InvalidRequestError
from berlin.types import ChatRequest, HttpRequest, Message
from berlin.wire.json import decode_request_object, encode_body
from berlin.wire.mapped_stream import CompiledStream, MappedDecoder, MappedEncoder, StreamMap
from berlin.wire.pointer import MISSING, get_at, parse_pointer
from berlin.wire.prompt import flatten_messages
from berlin.wire.template import Template

PLACEHOLDERS = frozenset({"prompt", "model", "uuid4"})


class ChatMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat]` of a recipe.

    Attributes:
        path: where the chat is posted, below the endpoint's URL.
        body: JSON with the placeholders `{prompt}`, `{model}` and `{uuid4}`.
        options: pointer to the object in the body that takes the caller's options.
        stream: what the answer looks like.
    """

    path: str
    body: dict[str, Any]
    stream: StreamMap
    options: str = ""


class MappedFormat:
    """The format that a `ChatMap` describes, both ways.

    Args:
        chat: the description.
        default_model: for requests that name none.

    Raises:
        ConfigurationError: if the description cannot be right.
    """

    content_type = "application/x-ndjson"

    def __init__(self, chat: ChatMap, default_model: str) -> None:
        self._path = chat.path
        self._template = Template(chat.body, PLACEHOLDERS)
        self._options_at = parse_pointer(chat.options) if chat.options else None
        self._default_model = default_model
        self._stream = CompiledStream(chat.stream)
        # Members of the options object that the protocol itself fills.
        self._reserved = {
            path[-1]
            for path in self._template.paths.values()
            if self._options_at is not None and path[:-1] == self._options_at
        }

    def encode_request(self, request: ChatRequest) -> HttpRequest:
        """Return the HTTP request for a chat.

        Raises:
            InvalidRequestError: if this service cannot be asked that.
        """
        if request.tools or request.response_format is not None:
            what = "tools" if request.tools else "response_format"
            raise InvalidRequestError(f"{what}: this service takes only text")
        document = self._template.render(
            {
                "prompt": flatten_messages(request.messages),
                "model": request.model or self._default_model,
                "uuid4": str(uuid.uuid4()),
            }
        )
        if request.options:
            self._place_options(document, request.options)
        headers = {"Content-Type": "application/json", "Accept": f"{self.content_type}, */*;q=0.5"}
        return HttpRequest("POST", self._path, headers, body=encode_body(document))

    def decoder(self) -> MappedDecoder:
        """Return a decoder for one answer."""
        return MappedDecoder(self._stream)

    def describe_error(self, body: bytes) -> str:
        """Return what the body of an error answer says: its message, or its beginning."""
        return self._stream.describe_error(body)

    def decode_request(self, body: bytes) -> ChatRequest:
        """Return the request in a body that a client of this wire sent.

        The prompt is one message of the user: whatever role lines it holds are its text.

        Raises:
            InvalidRequestError: if it is not what the template says.
        """
        document = decode_request_object(body)
        values = self._template.parse(document)
        prompt, model = values.get("prompt"), values.get("model", "")
        if not isinstance(prompt, str):
            raise InvalidRequestError(f"{self._place('prompt')} must be text")
        if not isinstance(model, str):
            raise InvalidRequestError(f"{self._place('model')} must be text")
        options = get_at(document, self._options_at) if self._options_at is not None else {}
        # A client that names no model sends the default of this wire.
        model = "" if model == self._default_model else model
        given = {name: value for name, value in options.items() if name not in self._reserved}
        return ChatRequest((Message.of("user", prompt),), model, given)

    def encoder(self) -> MappedEncoder:
        """Return an encoder for one answer."""
        return MappedEncoder(self._stream)

    def _place(self, name: str) -> str:
        return ".".join(self._template.paths[name])

    def _place_options(self, document: dict[str, Any], options: Mapping[str, Any]) -> None:
        for name in options:
            if name in self._reserved:
                raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        if self._options_at is None:
            raise InvalidRequestError(
                f"this service takes no options, but {', '.join(options)} was given"
            )
        target = get_at(document, self._options_at)
        if target is MISSING:
            raise InvalidRequestError(f"the recipe's body has no object at {self._options_at}")
        target.update(options)
