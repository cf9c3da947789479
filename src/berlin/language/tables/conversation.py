"""Messages of a request in a described format, in both directions."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.prompt import Shape, flatten_messages, text_of
from berlin.language.values.template import ABSENT, Template
from berlin.types import ChatRequest, Message, Role
from berlin.types.messages import ROLES

NAMES = frozenset({"prompt", "messages", "history", "system", "conversation_id", "parent_id"})
"""The placeholders of the conversation."""


class MessagesMap(Shape, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.messages]` of a recipe.

    Attributes:
        form: what the body carries: `prompt`, the conversation as one text; `array`, a list of
            messages at `{messages}`; `last`, the last message as `{prompt}` when the request
            names a conversation that the service keeps, else the conversation as one text. Where
            the body has `{history}`, that is the list of the messages before the last one, and
            `{prompt}` is the last one.
        item: one message of the array, with the placeholders `{role}` and `{text}`.
        roles: the service's names of the roles.
        system: `message`, if the system prompt is a message like the others; `apart`, if it goes to
            `{system}`.
    """

    form: Literal["prompt", "array", "last"] = "prompt"
    item: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"role": "{role}", "content": "{text}"}
    )
    roles: dict[Role, str] = {}  # noqa: RUF012  # msgspec copies it
    system: Literal["message", "apart"] = "message"


class ConversationMap:
    """A `MessagesMap`, ready for use.

    Raises:
        ConfigurationError: if the description is invalid.
    """

    def __init__(self, described: MessagesMap, used: set[str]) -> None:
        self._described = described
        self._item = Template(described.item, frozenset({"role", "text"}))
        self._has_history = "history" in used and described.form != "array"
        wanted = "messages" if described.form == "array" else "prompt"
        if wanted not in used:
            raise ConfigurationError(
                f"the request says nowhere {{{wanted}}}, where the conversation goes "
                f'(form = "{described.form}")'
            )
        if described.system == "apart" and "system" not in used:
            raise ConfigurationError('system = "apart" needs the placeholder {system}')
        if described.form == "array" and "text" not in self._item.paths:
            raise ConfigurationError('[chat.messages] item needs a member that is "{text}"')

    def encode(self, request: ChatRequest) -> dict[str, Any]:
        """Return the values of the placeholders. Raises InvalidRequestError."""
        described = self._described
        messages = request.messages
        if request.conversation_id and request.known_messages is not None:
            messages = messages[request.known_messages :]
        values: dict[str, Any] = dict.fromkeys(NAMES, ABSENT)
        if described.system == "apart":
            said = [text_of(n, m) for n, m in enumerate(messages) if _is_system(m)]
            messages = tuple(m for m in messages if not _is_system(m))
            values["system"] = "\n\n".join(said) if said else ABSENT
            if not messages:
                raise InvalidRequestError.about("messages", "only the system says something")
        values["conversation_id"] = request.conversation_id or ABSENT
        values["parent_id"] = request.parent_id or ABSENT
        if self._has_history:
            *before, last = messages
            values["history"] = [self._encode(n, m) for n, m in enumerate(before)]
            values["prompt"] = text_of(len(before), last)
            return values
        match described.form:
            case "array":
                values["messages"] = [self._encode(n, m) for n, m in enumerate(messages)]
            case "last" if request.conversation_id and request.known_messages is None:
                values["prompt"] = text_of(len(messages) - 1, messages[-1])
            case _:
                values["prompt"] = flatten_messages(messages, described)
        return values

    def decode(self, values: dict[str, Any]) -> tuple[Message, ...]:
        """Return the messages in what a client sent. Raises InvalidRequestError.

        A prompt is one message of the user: any role lines in it are part of its text.
        """
        if self._described.form == "array":
            items = values["messages"]
            if not isinstance(items, list) or not items:
                raise InvalidRequestError.about("messages", "must be a list with a message")
            messages = tuple(self._decode(n, item) for n, item in enumerate(items))
        else:
            earlier = values.get("history") if self._has_history else None
            messages = (
                *(self._decode(n, m) for n, m in enumerate(earlier or ())),
                Message.of("user", _text(values["prompt"], "prompt")),
            )
        system = values.get("system")
        return (Message.of("system", system), *messages) if isinstance(system, str) else messages

    def _encode(self, n: int, message: Message) -> Any:
        roles = self._described.roles
        role = roles.get(message.role)
        if role is None and message.role == "developer":
            role = roles.get("system", "system")
        return self._item.render({"role": role or message.role, "text": text_of(n, message)})

    def _decode(self, n: int, item: Any) -> Message:
        found = self._item.parse(item)
        ours = {theirs: role for role, theirs in self._described.roles.items()}
        role = found.get("role", "user")
        role = ours.get(role, role)
        if role not in ROLES:
            raise InvalidRequestError.about(f"messages[{n}]", "has a role that is not known")
        return Message.of(role, _text(found["text"], f"messages[{n}]"))


def _is_system(message: Message) -> bool:
    return message.role in ("system", "developer")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError.about(where, "must be text")
    return value
