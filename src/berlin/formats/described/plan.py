"""The requests of one chat in their order: those before it, the chat itself, and those after it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

import msgspec

from berlin.errors import ConfigurationError, ProtocolError
from berlin.language.step import SESSION_NAMES, CompiledStep, Let, Step, compile_steps, read_object
from berlin.language.tables.chat import ChatMap
from berlin.language.tables.conversation import NAMES
from berlin.language.tables.socket import CompiledSocket
from berlin.language.values.functions import make_values
from berlin.language.values.place import Place
from berlin.language.values.template import ABSENT
from berlin.types import ChatRequest, HttpRequest, HttpResponse
from berlin.wire.pointer import MISSING

PLACEHOLDERS = frozenset({"model", "user"}) | NAMES
"""Placeholders allowed in every chat's requests; those that Berlin generates are not listed."""

Bodies: TypeAlias = Callable[[CompiledStep, Mapping[str, Any]], Any]
"""Makes the body of a step, before it is encoded."""


class ChatPlan:
    """The requests that a `ChatMap` describes, ready for use.

    Args:
        chat: the description.
        session: the placeholders of the login.
        accept: the content type that the chat asks for.

    Attributes:
        prepare: the requests before the chat.
        chat: the request whose answer streams.
        after: the requests after the answer.
        known: the placeholders that the chat may have.
        used: the placeholders used in any of them.
        session_names: those of the login.

    Raises:
        ConfigurationError: if the description is invalid.
    """

    def __init__(self, chat: ChatMap, session: frozenset[str], accept: str) -> None:
        known = PLACEHOLDERS | session
        self._let = Let(chat.let, known)
        known |= chat.let.keys()
        found = session - SESSION_NAMES
        self.prepare = compile_steps(chat.prepare, known, found)
        found |= {name for step in chat.prepare for name in step.take}
        known |= found
        self.known = frozenset(known)
        step = Step(
            chat.path or "",
            chat.method,
            chat.query,
            chat.json if chat.format == "described" else None,
            chat.form,
            chat.multipart,
            chat.headers,
        )
        self._socket = None if chat.socket is None else CompiledSocket(chat.socket, known)
        if self._socket is not None:
            # The handshake has no body: `json` is the message with the question.
            head = msgspec.structs.replace(step, method="GET", json=None)
            self._handshake = CompiledStep(head, known, accept, found)
        said = self._socket.taken if self._socket is not None else set()
        self.chat = CompiledStep(step, known | said, accept, found)
        self.after = compile_steps(chat.after, known, found)
        for after in chat.after:
            if after.take:
                raise ConfigurationError(f"the step {after.path} in after takes values for nobody")
        steps = (*self.prepare, self.chat, *self.after)
        self.used = {name for step in steps for name in step.used} | self._let.used
        if self._socket is not None:
            self.used = (self.used | self._socket.used) - said
        self.session_names = frozenset(self.used & session)

    def run(
        self,
        request: ChatRequest,
        values: Mapping[str, Any],
        session: Mapping[str, Any],
        body: Bodies,
    ) -> Generator[HttpRequest, HttpResponse, tuple[HttpRequest, dict[str, Any]]]:
        """Yield the requests before the chat, and return the chat's, with all values.

        Args:
            request: the request.
            values: the placeholders' values for the conversation and the model.
            session: the placeholders' values from the login.
            body: makes the bodies.

        Raises:
            InvalidRequestError: if a value cannot be sent.
            ProtocolError: if an answer lacks what later requests need.
        """
        filled = {
            **dict.fromkeys(self.session_names, ABSENT),
            **values,
            **session,
            **make_values(self.used),
            "user": request.tenant or session.get("account") or ABSENT,
        }
        if self._let.names:
            filled |= self._let.render(filled)
        cookies: dict[str, str] = {}
        for step in self.prepare:
            if step.step.once and request.conversation_id:
                filled |= dict.fromkeys(step.step.take.keys() - {"conversation_id"}, ABSENT)
                continue
            response = yield step.request(filled, cookies, body(step, filled))
            cookies.update(response.cookies)
            filled |= take(step, response, cookies)
        call = self._call(filled, cookies, body)
        conversation = filled["conversation_id"]
        return (
            msgspec.structs.replace(
                call,
                conversation_id="" if conversation is ABSENT else str(conversation),
                after=tuple(step.request(filled, cookies) for step in self.after),
            ),
            filled,
        )

    def _call(
        self, values: Mapping[str, Any], cookies: Mapping[str, str], body: Bodies
    ) -> HttpRequest:
        socket = self._socket
        if socket is None:
            return self.chat.request(values, cookies, body(self.chat, values))

        def question(values: Mapping[str, Any]) -> Any:
            return body(self.chat, values)

        call = self._handshake.request(values, cookies)
        return msgspec.structs.replace(call, socket=lambda: socket.dialog(values, question))


def take(step: CompiledStep, response: HttpResponse, cookies: Mapping[str, str]) -> dict[str, Any]:
    """Return the values found by a preparing step. Raises ProtocolError if something is missing."""
    path = step.step.path
    document = read_object(response.body, path) if step.needs_json else {}
    taken = step.take(response, document, cookies)
    for name, value in taken.items():
        if value is MISSING or value is None:
            place = step.step.take[name]
            where = place.words if isinstance(place, Place) else place
            raise ProtocolError(f"{path} gave no {name} at {where}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ProtocolError(f"{path} gave a {name} that is neither text nor a number")
    return taken
