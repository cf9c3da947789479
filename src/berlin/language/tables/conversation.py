"""Messages of a request in a described format, in both directions."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.prompt import Shape, flatten_messages, text_of
from berlin.language.tables.parts import NOTHING, CompiledParts, PartsMap, Uploaded, kind_of
from berlin.language.values.template import ABSENT, Template
from berlin.types import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from berlin.types.messages import ROLES

NAMES = frozenset(
    {
        *("prompt", "messages", "history", "system", "conversation_id", "parent_id"),
        *("images", "files", "tools", "tool_choice"),
    }
)
"""The placeholders of the conversation."""

ITEM_NAMES = frozenset({"role", "text", "parts", "images", "files", "calls"})
"""The placeholders of one message."""


class MessagesMap(Shape, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.messages]` of a recipe.

    Attributes:
        form: what the body carries: `prompt`, the conversation as one text; `array`, a list of
            messages at `{messages}`; `last`, the last message as `{prompt}` when the request
            names a conversation that the service keeps, else the conversation as one text. Where
            the body has `{history}`, that is the list of the messages before the last one, and
            `{prompt}` is the last one.
        item: one message of the array, with the placeholders `{role}` and `{text}`, or `{role}` and
            `{parts}`; also `{images}`, `{files}` and `{calls}`, which are left out if there are
            none.
        roles: the service's names of the roles.
        system: `message`, if the system prompt is a message like the others; `apart`, if it goes to
            `{system}`.
        parts: how images, files, tools, calls and results are written.
    """

    form: Literal["prompt", "array", "last"] = "prompt"
    item: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"role": "{role}", "content": "{text}"}
    )
    roles: dict[Role, str] = {}  # noqa: RUF012  # msgspec copies it
    system: Literal["message", "apart"] = "message"
    parts: PartsMap = PartsMap()


class ConversationMap:
    """A `MessagesMap`, ready for use. Raises ConfigurationError.

    Args:
        used: the placeholders that the requests use.
        uploaded: the names that the uploads take.

    Attributes:
        takes: the kinds of parts besides text that a request may have.
        takes_tools: whether a request may offer tools.
    """

    def __init__(
        self, described: MessagesMap, used: set[str], uploaded: frozenset[str] = frozenset()
    ) -> None:
        self._described = described
        self._item = Template(described.item, ITEM_NAMES)
        self._parts = CompiledParts(described.parts, uploaded)
        self._has_history = "history" in used and described.form != "array"
        wanted = {ImagePart: "images", FilePart: "files"}
        self._in_body = {kind for kind, name in wanted.items() if name in used}
        self.takes_tools = "tools" in used
        carried = "messages" if described.form == "array" else "prompt"
        if carried not in used:
            raise ConfigurationError(
                f"the request says nowhere {{{carried}}}, where the conversation goes "
                f'(form = "{described.form}")'
            )
        if described.system == "apart" and "system" not in used:
            raise ConfigurationError('system = "apart" needs the placeholder {system}')
        in_item = described.form == "array" or self._has_history
        names = self._item.names if in_item else set()
        self._is_in_parts = "parts" in names
        if described.form == "array" and not {"text", "parts"} & self._item.paths.keys():
            raise ConfigurationError('[chat.messages] item needs a member that is "{text}"')
        self.takes = {kind for kind in ("image", "file") if f"{kind}s" in used | names}
        if self._is_in_parts:
            self.takes |= self._parts.kinds & {"image", "file"}
        if self.takes_tools:
            self._check_tools(described, names)
        unused = self._parts.kinds & {"image", "file"} - self.takes
        if unused:
            raise ConfigurationError(
                f"[chat.messages.parts] {unused.pop()}: no request has {{parts}}, {{images}} or "
                "{files}, where it would go"
            )

    def _check_tools(self, described: MessagesMap, names: set[str]) -> None:
        if described.form != "array":
            raise ConfigurationError('{tools} needs form = "array", for the calls and results')
        if self._is_in_parts and not {"call", "result"} <= self._parts.kinds:
            raise ConfigurationError("{tools} with {parts}: say what `call` and `result` look like")
        if not self._is_in_parts and "calls" not in names:
            raise ConfigurationError(
                "{tools} needs {calls} in `item` of [chat.messages], for the calls of earlier turns"
            )

    def encode(self, request: ChatRequest, uploaded: Uploaded = NOTHING) -> dict[str, Any]:
        """Return the values of the placeholders. Raises InvalidRequestError.

        Args:
            uploaded: what the uploads took.
        """
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
        if self._in_body:
            values["images"] = self._files(messages, ImagePart, uploaded)
            values["files"] = self._files(messages, FilePart, uploaded)
            messages = tuple(map(self._without_files, messages))
        if self.takes_tools and request.tools:
            values["tools"] = [self._parts.tool(t) for t in request.tools if not t.hosted]
            values["tool_choice"] = request.tool_choice
        if self._has_history:
            *before, last = messages
            values["history"] = self._encode_all(tuple(before), uploaded)
            values["prompt"] = text_of(len(before), last)
            return values
        match described.form:
            case "array":
                values["messages"] = self._encode_all(messages, uploaded)
            case "last" if request.conversation_id and request.known_messages is None:
                values["prompt"] = text_of(len(messages) - 1, messages[-1])
            case _:
                values["prompt"] = flatten_messages(messages, described)
        return values

    def decode(self, values: dict[str, Any]) -> tuple[Message, ...]:
        """Return the messages in what a client sent. Raises InvalidRequestError.

        A prompt is one message of the user: any role lines in it are part of its text. Of a message
        in parts only the texts are read.
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

    def decode_tools(self, values: dict[str, Any]) -> tuple[Tool, ...]:
        """Return the tools in what a client sent. Raises InvalidRequestError."""
        given = values.get("tools")
        return tuple(map(self._parts.parse_tool, given)) if isinstance(given, list) else ()

    def _files(
        self, messages: tuple[Message, ...], kind: type[ImagePart | FilePart], uploaded: Uploaded
    ) -> Any:
        parts = (part for message in messages for part in message.parts)
        return [self._parts.file(p, uploaded) for p in parts if isinstance(p, kind)] or ABSENT

    def _without_files(self, message: Message) -> Message:
        kept = tuple(p for p in message.parts if type(p) not in self._in_body)
        return message if len(kept) == len(message.parts) else Message(message.role, kept)

    def _encode_all(self, messages: tuple[Message, ...], uploaded: Uploaded) -> list[Any]:
        names: dict[str, str] = {}
        items: list[Any] = []
        for n, message in enumerate(messages):
            if len(message.parts) == 1 and isinstance(message.parts[0], TextPart):
                items.append(self._encode(n, message, names, uploaded))
                continue
            names |= {p.id: p.name for p in message.parts if isinstance(p, ToolCallPart)}
            results = [p for p in message.parts if isinstance(p, ToolResultPart)]
            if results and self.takes_tools and not self._is_in_parts:
                role = self._role("tool")
                items += [self._parts.result(result, names, role) for result in results]
            else:
                items.append(self._encode(n, message, names, uploaded))
        return items

    def _role(self, role: Role) -> str:
        roles = self._described.roles
        found = roles.get(role)
        if found is None and role == "developer":
            found = roles.get("system", "system")
        return found or role

    def _encode(self, n: int, message: Message, names: dict[str, str], uploaded: Uploaded) -> Any:
        wanted = self._item.names
        values: dict[str, Any] = {"role": self._role(message.role)}
        if self._is_in_parts:
            items = [self._part(n, part, names, uploaded) for part in message.parts]
            values["parts"] = items
        apart: dict[str, list[Any]] = {"images": [], "files": [], "calls": []}
        kept: list[Part] = []
        for part in message.parts:
            match part:
                case ImagePart() | FilePart() if (name := f"{kind_of(part)}s") in wanted:
                    apart[name].append(self._parts.file(part, uploaded))
                case ToolCallPart() if "calls" in wanted:
                    apart["calls"].append(self._parts.call(part))
                case _:
                    kept.append(part)
        values |= {name: items or ABSENT for name, items in apart.items()}
        if "text" in wanted:
            values["text"] = text_of(n, Message(message.role, tuple(kept)))
        return self._item.render(values)

    def _part(self, n: int, part: Part, names: dict[str, str], uploaded: Uploaded) -> Any:
        match part:
            case TextPart():
                return self._parts.text(part.text)
            case ImagePart() | FilePart() if kind_of(part) in self.takes:
                return self._parts.file(part, uploaded)
            case ToolCallPart() if self.takes_tools:
                return self._parts.call(part)
            case ToolResultPart() if self.takes_tools:
                return self._parts.result(part, names, self._role("tool"))
        # The error for a part that a service cannot be sent.
        return text_of(n, Message("user", (part,)))

    def _decode(self, n: int, item: Any) -> Message:
        found = self._item.parse(_with_optional(item, self._item))
        ours = {theirs: role for role, theirs in self._described.roles.items()}
        role = found.get("role", "user")
        role = ours.get(role, role)
        if role not in ROLES:
            raise InvalidRequestError.about(f"messages[{n}]", "has a role that is not known")
        if "parts" in found and isinstance(found["parts"], list):
            texts = filter(None, map(self._parts.parse_text, found["parts"]))
            return Message(role, tuple(TextPart(text) for text in texts))
        return Message.of(role, _text(found.get("text"), f"messages[{n}]"))


def _with_optional(item: Any, template: Template) -> Any:
    """Return an item with the members that a message without images, files or calls lacks."""
    if not isinstance(item, dict):
        return item
    missing = {
        path[0]: None
        for name, path in template.paths.items()
        if name in ("images", "files", "calls") and len(path) == 1
    }
    return {**missing, **item}


def _is_system(message: Message) -> bool:
    return message.role in ("system", "developer")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError.about(where, "must be text")
    return value
