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

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.formats.client_request import check_model, check_options
from berlin.formats.contract import ClientCall, Exchange
from berlin.formats.described.decoder import MappedDecoder
from berlin.formats.described.encoder import MappedEncoder
from berlin.formats.described.plan import ChatPlan
from berlin.formats.reasoning import effort_of
from berlin.formats.table import Carrier, Table, is_neutral
from berlin.language.step import BODIES, CompiledStep, read_object
from berlin.language.tables.chat import ChatMap
from berlin.language.tables.conversation import ConversationMap
from berlin.language.tables.parts import Uploaded
from berlin.language.tables.stream import CompiledStream
from berlin.types import (
    ChatRequest,
    ChatResponse,
    Finished,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from berlin.wire.framings import FRAMINGS
from berlin.wire.framings.connect import CONTENT_TYPE, envelope, message_in
from berlin.wire.json import encode_body
from berlin.wire.pointer import MISSING, get_at, parse_pointer, set_at

# Options that some clients must send: a service without options decides the length itself.
LIMITS = frozenset({"max_tokens"})
# Options that agents send with every request; they affect neither the answer nor its price.
LABELS = frozenset({"user"})
NOTHING = Table("described")
"""The table of a described service: it has no members but those of its recipe."""
IGNORE = "ignore"
"""`options = "ignore"`: options are dropped instead of refused."""


class MappedFormat:
    """The format that a `ChatMap` describes, both ways. Raises ConfigurationError.

    Args:
        default_model: the model of requests that name none.

    Attributes:
        uploads: the requests for each image and file, before all others.
        prepare: the requests before the chat itself.
        takes: the kinds of parts besides text that a request may have.
        takes_tools: whether a request may offer tools.
        chat: the request whose answer streams.
        meanwhile: the requests once the answer's stream is open.
        after: the requests after the answer.
        poll_s: seconds between polls, for a service that is polled until it is ready.
    """

    def __init__(
        self,
        chat: ChatMap,
        default_model: str,
        session: frozenset[str] = frozenset(),
        *,
        makes_ids: bool = False,
    ) -> None:
        stream = chat.described_stream
        if stream is None or chat.path is None:
            raise ConfigurationError('[chat] needs path and [chat.stream], or a format = "…"')
        _check_socket(chat)
        self.content_type = FRAMINGS[stream.framing].content_type
        self.poll_s = chat.poll_s
        # Its requests are in envelopes too.
        self._is_connect = stream.framing == "connect"
        self._stream = CompiledStream(
            stream,
            is_polled=chat.poll_s is not None,
            is_open_ended=chat.socket is not None,
        )
        accept = f"{self.content_type}, */*;q=0.5"
        self._plan = ChatPlan(chat, session, accept, self._stream.failure_in)
        plan = self._plan
        self.prepare, self.chat = plan.prepare, plan.chat
        self.meanwhile, self.after = plan.meanwhile, plan.after
        self.uploads = plan.uploads.steps
        self.session_names = self._plan.session_names
        # The step that carries the conversation: the chat itself, or one around it.
        steps = (*self.prepare, self.chat, *self.meanwhile)
        taken = self._plan.uploads.taken
        self._conversation = ConversationMap(chat.messages, self._plan.used, taken)
        self.takes, self.takes_tools = self._conversation.takes, self._conversation.takes_tools
        self._carrier = next((s for s in steps if s.used & {"prompt", "messages"}), self.chat)
        self._ignores = chat.options == IGNORE
        self._options_at: tuple[str, ...] | None = None
        if not self._ignores and chat.options is not None:
            self._options_at = parse_pointer(chat.options) if chat.options else ()
        self._rename: dict[str, str] = chat.rename
        self._drop = frozenset(chat.drop) | (LABELS if self._options_at is None else frozenset())
        if self._options_at is not None and self._carrier.body is None:
            raise ConfigurationError("options point into the body, and there is none")
        tree = self._carrier.body.tree if self._carrier.body else {}
        if self._options_at is not None and not isinstance(get_at(tree, self._options_at), dict):
            raise ConfigurationError(f"options = {chat.options!r} names no object in the body")
        self._default_model = default_model
        self._makes_ids = makes_ids
        # Members of the options object that the protocol itself fills.
        body = self._carrier.body
        at = self._options_at or ()
        self._reserved = {
            path[len(at)]
            for path in (body.places if body and self._options_at is not None else ())
            if path[: len(at)] == at
        }
        # What a client of this format sends by default.
        object_ = get_at(tree, at) if self._options_at is not None else {}
        self._constants = {
            name: value for name, value in object_.items() if name not in self._reserved
        }

    def encode_request(self, request: ChatRequest) -> Exchange:
        """Return the requests, step by step; see `Format`."""
        return self.encode_with(request, {})

    def encode_with(self, request: ChatRequest, session: Mapping[str, Any]) -> Exchange:
        """Return the requests, with values of the login; see `SessionFormat`.

        Raises:
            InvalidRequestError: if this service cannot be sent that.
        """
        if request.tools and not self._conversation.takes_tools:
            raise InvalidRequestError.about("tools", "this service takes only text")
        if request.response_format:
            raise InvalidRequestError.about("response_format", "this service takes only text")
        carrier = Carrier(NOTHING)
        carrier.drop_extras(request)
        if request.reasoning is not None and effort_of(request.reasoning) not in ("", "none"):
            carrier.drop("reasoning_effort")
        ignored = [n for n in request.options if self._ignores or n in self._drop]
        if ignored:
            kept = {n: value for n, value in request.options.items() if n not in ignored}
            request = msgspec.structs.replace(request, options=kept)
        dropped = (*ignored, *carrier.dropped)
        self._check_options(request.options, request.unasked)
        if self.uploads:
            # What this service cannot be sent must fail before anything is uploaded.
            self._conversation.encode(request)

        def values(uploaded: Uploaded) -> dict[str, Any]:
            said = self._conversation.encode(request, uploaded)
            if self._makes_ids and not request.conversation_id:
                said["conversation_id"] = str(uuid.uuid4())
            return {**said, "model": request.model or self._default_model}

        call, _ = yield from self._plan.run(
            request, values, session, lambda step, filled: self._body(step, filled, request)
        )
        if self._is_connect:
            headers = {**call.headers, "Content-Type": CONTENT_TYPE}
            call = msgspec.structs.replace(call, headers=headers, body=envelope(call.body))
        return msgspec.structs.replace(call, dropped=dropped) if dropped else call

    def decoder(self) -> MappedDecoder:
        """Return a decoder for one answer."""
        return MappedDecoder(self._stream)

    def describe_error(self, body: bytes) -> str:
        """Return the message in the body of an error response: its message, or its beginning."""
        return self._stream.describe_error(body)

    def decode_request(self, body: bytes) -> ClientCall:
        """Return the request in the body of a client of this format. Raises InvalidRequestError."""
        body = message_in(body) if self._is_connect else body
        values = self._carrier.parse(body)
        model = values.get("model", "")
        if not isinstance(model, str):
            raise InvalidRequestError.about(self._place("model"), "must be text")
        model = check_model(model)
        # A client that names no model sends this format's default.
        model = "" if model == self._default_model else model
        given = check_options(self._given_options(body))
        unasked = frozenset(name for name in given if self._is_constant(name, given[name]))
        messages = self._conversation.decode(values)
        return ClientCall(ChatRequest(messages, model, given, unasked=unasked))

    def encoder(self, call: ClientCall) -> MappedEncoder:
        """Return an encoder for one answer."""
        return MappedEncoder(self._stream)

    def encode_response(self, call: ClientCall, response: ChatResponse) -> bytes:
        """Return a whole answer: this format has only the streamed form."""
        encoder = self.encoder(call)
        events: list[StreamEvent] = []
        if response.text:
            events.append(TextDelta(response.text))
        if response.usage is not None:
            events.append(UsageReport(response.usage))
        events.append(Finished(response.finish_reason))
        return encoder.encode_burst(events)

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an answer that is an error."""
        return encode_body({"code": error.http_status, "message": error.message})

    def _place(self, name: str) -> str:
        body = self._carrier.body
        return ".".join(body.paths.get(name, (name,)) if body else (name,))

    def _body(self, step: CompiledStep, values: Mapping[str, Any], request: ChatRequest) -> Any:
        document = step.document(values)
        if step is self._carrier and request.options:
            self._place_options(document, request.options)
        return document

    def _is_constant(self, name: str, value: Any) -> bool:
        """Whether this format's template has an option with exactly this value."""
        constant = self._constants.get(self._rename.get(name, name), MISSING)
        return type(constant) is type(value) and bool(constant == value)

    def _check_options(self, options: Mapping[str, Any], unasked: frozenset[str]) -> None:
        if not options:
            return
        for name in options:
            if self._rename.get(name, name) in self._reserved:
                raise InvalidRequestError(f"{name} is part of the protocol, not an option")
        refused = [
            name
            for name, value in options.items()
            if name not in LIMITS | unasked and not is_neutral(name, value)
        ]
        if refused and self._options_at is None:
            raise InvalidRequestError(
                f"this service takes no options, but {', '.join(refused)} was given: leave it out, "
                "or name it in `drop` of the recipe"
            )

    def _place_options(self, document: dict[str, Any], options: Mapping[str, Any]) -> None:
        given = {self._rename.get(name, name): value for name, value in options.items()}
        if self._options_at is None:
            return
        if not self._options_at:
            document.update(given)
            return
        # It is left out if it contains only placeholders without a value.
        target = get_at(document, self._options_at) or {}
        set_at(document, self._options_at, {**target, **given})

    def _given_options(self, body: bytes) -> dict[str, Any]:
        if self._options_at is None or self._carrier.encoding != "json":
            return {}
        document = read_object(body, "the request")
        options = get_at(document, self._options_at)
        given: dict[str, Any] = options if isinstance(options, dict) else {}
        ours = {theirs: name for name, theirs in self._rename.items()}
        return {
            ours.get(name, name): value
            for name, value in given.items()
            if name not in self._reserved
        }


def _check_socket(chat: ChatMap) -> None:
    if chat.socket is None:
        return
    if chat.json is None or any(getattr(chat, kind) is not None for kind in BODIES[1:]):
        raise ConfigurationError("with [chat.socket] the message with the question is `json`")
    if chat.described_stream is not None and chat.described_stream.framing != "ndjson":
        raise ConfigurationError(
            '[chat.socket] needs framing = "ndjson": each message is one JSON object'
        )
    if chat.poll_s is not None:
        raise ConfigurationError("poll_s and [chat.socket] do not go together")
