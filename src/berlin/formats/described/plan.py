"""The requests of one chat in their order: those before it, the chat itself, and those after it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from berlin.errors import ConfigurationError
from berlin.formats.described.uploads import Explain, Uploads, take
from berlin.language.step import SESSION_NAMES, CompiledStep, Let, Step, compile_steps
from berlin.language.tables.chat import ChatMap
from berlin.language.tables.conversation import NAMES
from berlin.language.tables.parts import Uploaded
from berlin.language.tables.socket import CompiledSocket, Dialog
from berlin.language.values.functions import make_values
from berlin.language.values.template import ABSENT
from berlin.types import ChatRequest, HttpRequest, HttpResponse

PLACEHOLDERS = frozenset({"model", "user"}) | NAMES
"""Placeholders allowed in every chat's requests; those that Berlin generates are not listed."""

Values: TypeAlias = Callable[[Uploaded], Mapping[str, Any]]
"""Makes the values of a conversation, from what the uploads took."""

Bodies: TypeAlias = Callable[[CompiledStep, Mapping[str, Any]], Any]
"""Makes the body of a step, before it is encoded."""


class ChatPlan:
    """The requests that a `ChatMap` describes, ready for use. Raises ConfigurationError.

    Args:
        session: the placeholders of the login.
        accept: the content type that the chat asks for.
        explain: finds the error in a response that lacks what is taken from it.

    Attributes:
        prepare: the requests before the chat.
        chat: the request whose answer streams.
        meanwhile: the requests once the answer's stream is open.
        after: the requests after the answer.
        uploads: the requests for images and files, sent before all others.
        known: the placeholders that the chat may have.
        used: the placeholders used in any of them.
        session_names: those of the login.
    """

    def __init__(
        self,
        chat: ChatMap,
        session: frozenset[str],
        accept: str,
        explain: Explain = lambda document: None,
    ) -> None:
        known = PLACEHOLDERS | session
        self._explain = explain
        self.uploads = Uploads(chat.upload, session | {"user"}, explain)
        self._let = Let(chat.let, known)
        known |= chat.let.keys()
        found = session - SESSION_NAMES
        _check_prepare(chat.prepare)
        self.prepare = compile_steps(chat.prepare, known, found)
        found |= {name for step in chat.prepare for name in step.take}
        known |= found
        self.known = frozenset(known)
        step = chat.step(chat.path or "")
        if chat.format != "described":
            step = msgspec.structs.replace(step, json=None)  # its members, not the body
        self._socket = None if chat.socket is None else CompiledSocket(chat.socket, known)
        if self._socket is not None:
            # The handshake has no body: `json` is the message with the question.
            head = msgspec.structs.replace(step, method="GET", json=None)
            self._handshake = CompiledStep(head, known, accept, found)
        said = self._socket.taken if self._socket is not None else set()
        self.chat = CompiledStep(step, known | said, accept, found)
        self.meanwhile = compile_steps(chat.meanwhile, known, found)
        self.after = compile_steps(chat.after, known, found)
        for later in (*chat.meanwhile, *chat.after):
            if later.take:
                raise ConfigurationError(f"the step {later.path} takes values that nothing uses")
        steps = (*self.prepare, self.chat, *self.meanwhile, *self.after)
        self.used = {name for step in steps for name in step.used} | self._let.used
        self.used |= self.uploads.used
        if self._socket is not None:
            self.used = (self.used | self._socket.used) - said
        self.session_names = frozenset(self.used & session)

    def run(
        self,
        request: ChatRequest,
        values: Values,
        session: Mapping[str, Any],
        body: Bodies,
    ) -> Generator[HttpRequest, HttpResponse, tuple[HttpRequest, dict[str, Any]]]:
        """Yield the requests before the chat, and return the chat's, with all values.

        Args:
            values: makes the placeholders' values for the conversation and the model.
            session: the placeholders' values from the login.

        Raises:
            InvalidRequestError: if a value cannot be sent.
            ProtocolError: if an answer lacks what later requests need.
        """
        given = {
            **dict.fromkeys(self.session_names, ABSENT),
            **session,
            "user": request.tenant or session.get("account") or ABSENT,
        }
        uploaded = yield from self.uploads.run(request, given)
        filled = {**values(uploaded), **given, **make_values(self.used)}
        if self._let.names:
            filled |= self._let.render(filled)
        cookies: dict[str, str] = {}
        for step in self.prepare:
            if step.step.once and request.conversation_id:
                filled |= dict.fromkeys(step.step.take.keys() - {"conversation_id"}, ABSENT)
                continue
            response = yield step.request(filled, cookies, body(step, filled))
            cookies.update(response.cookies)
            filled |= take(step, response, cookies, self._explain)
        call = self._call(filled, cookies, body)
        conversation = filled["conversation_id"]
        if conversation is not ABSENT:
            call = msgspec.structs.replace(call, conversation_id=str(conversation))
        if self.meanwhile or self.after:
            call = msgspec.structs.replace(
                call,
                meanwhile=tuple(
                    step.request(filled, cookies, body(step, filled)) for step in self.meanwhile
                ),
                after=tuple(step.request(filled, cookies) for step in self.after),
            )
        return call, filled

    def _call(
        self, values: Mapping[str, Any], cookies: Mapping[str, str], body: Bodies
    ) -> HttpRequest:
        socket = self._socket
        if socket is None:
            return self.chat.request(values, cookies, body(self.chat, values))

        def question(values: Mapping[str, Any]) -> Any:
            return body(self.chat, values)

        call = self._handshake.request(values, cookies)
        return msgspec.structs.replace(call, socket=lambda: Dialog(socket, values, question))


def _check_prepare(steps: Sequence[Step]) -> None:
    for step in steps:
        if step.follow or step.refused_at:
            raise ConfigurationError(
                f"the step {step.path}: follow and refused_at belong to the steps of a login"
            )
