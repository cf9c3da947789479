"""How a described format writes what is not text: images, files, tools, calls and results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.errors import InvalidRequestError
from berlin.language.step import Step
from berlin.language.values.template import ABSENT, Template
from berlin.types import (
    FilePart,
    ImagePart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from berlin.wire.data_urls import make_data_url, media_type_of, parse_data_url
from berlin.wire.json import encode_body, loads

Kind: TypeAlias = Literal["image", "file"]

FILE_NAMES = frozenset({"url", "data_url", "base64", "media_type", "name"})
"""The placeholders for one image or file."""

MAX_NAME_CHARS = 255
_ENDING_CHARS = 20
CONTENTS = frozenset({"data_url", "base64", "media_type", "file", "size"})
"""Those that need the contents."""

Uploaded: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The values that the uploads of a request took, by the URL of each image and file."""

NOTHING: Uploaded = MappingProxyType({})

# What is written if a recipe does not say: the form of OpenAI, which most services take.
_TEXT = {"type": "text", "text": "{text}"}
_CALL = {
    "id": "{id}",
    "type": "function",
    "function": {"name": "{name}", "arguments": "{arguments}"},
}
_RESULT = {"role": "{role}", "tool_call_id": "{id}", "content": "{text}"}
_TOOL = {
    "type": "function",
    "function": {
        "name": "{name}",
        "description": "{description}",
        "parameters": "{parameters}",
    },
}


_MEDIA_TYPE = re.compile(r"[\w.+-]{1,80}/[\w.+-]{1,80}", re.ASCII)


class UploadMap(Step, frozen=True, forbid_unknown_fields=True):
    """`[[chat.upload]]`: a request that is sent for each image and file before the chat. What it
    takes are placeholders in `image` and `file` of `[chat.messages]`.

    Attributes:
        kinds: what is uploaded: `image`, `file`, or both.
    """

    kinds: tuple[Kind, ...] = ("image", "file")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.once or self.follow or self.refused_at:
            raise ValueError("once, follow and refused_at are not for an upload")
        if not self.kinds:
            raise ValueError("kinds is empty: say what is uploaded")


class PartsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat.messages.parts]`: how images, files, tools, calls and results are written.

    Attributes:
        text: one item of `{parts}` that is text, with the placeholder `{text}`. Default:
            `{ type = "text", text = "{text}" }`.
        image: one item of `{images}` or `{parts}`, with the placeholders `{url}` (as the caller
            wrote it), `{data_url}`, `{base64}`, `{media_type}`, `{name}`, and what the uploads
            take. All but `{url}` need an image that was sent with its contents. Default in
            `{images}`: `"{data_url}"`.
        file: one item of `{files}` or `{parts}`, with the same placeholders.
        call: one tool call of the assistant, an item of `{calls}` or `{parts}`, with the
            placeholders `{id}`, `{name}`, `{arguments}` (JSON as text) and `{input}` (an object).
            Default in `{calls}`: as OpenAI has it.
        result: the result of a tool: a message of its own, or an item of `{parts}`, with the
            placeholders `{id}`, `{name}`, `{text}` and `{role}`. Default for a message: as OpenAI
            has it.
        tool: one item of `{tools}`, with the placeholders `{name}`, `{description}` and
            `{parameters}` (a JSON Schema). Default: as OpenAI has it.
    """

    text: Any = None
    image: Any = None
    file: Any = None
    call: Any = None
    result: Any = None
    tool: Any = None


class CompiledParts:
    """A `PartsMap`, ready for use. Raises ConfigurationError.

    Args:
        uploaded: the names that the uploads take.

    Attributes:
        kinds: the kinds of parts that the description names.
    """

    def __init__(self, described: PartsMap, uploaded: frozenset[str] = frozenset()) -> None:
        self.kinds = {
            name
            for name in ("text", "image", "file", "call", "result")
            if getattr(described, name) is not None
        }
        self._nothing = dict.fromkeys(uploaded, ABSENT)
        self._text = Template(_or(described.text, _TEXT), frozenset({"text"}))
        self._files: dict[Kind, Template] = {
            "image": Template(_or(described.image, "{data_url}"), FILE_NAMES | uploaded),
            "file": Template(_or(described.file, "{data_url}"), FILE_NAMES | uploaded),
        }
        call = frozenset({"id", "name", "arguments", "input"})
        self._call = Template(_or(described.call, _CALL), call)
        result = frozenset({"id", "name", "text", "role"})
        self._result = Template(_or(described.result, _RESULT), result)
        tool = frozenset({"name", "description", "parameters"})
        self._tool = Template(_or(described.tool, _TOOL), tool)

    def text(self, text: str) -> Any:
        """Return an item for text."""
        return self._text.render({"text": text})

    def file(self, part: ImagePart | FilePart, uploaded: Uploaded) -> Any:
        """Return an item for an image or a file. Raises InvalidRequestError."""
        template = self._files[kind_of(part)]
        values = file_values(part, template.names)
        return template.render({**self._nothing, **values, **uploaded.get(part.url, {})})

    def call(self, call: ToolCallPart) -> Any:
        """Return an item for a tool call."""
        return self._call.render(
            {
                "id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "input": loads(call.arguments or "{}") if "input" in self._call.names else ABSENT,
            }
        )

    def result(self, result: ToolResultPart, names: Mapping[str, str], role: str) -> Any:
        """Return a message, or an item, for the result of a tool.

        Args:
            names: the names of the tools that were called, by the id of the call.
            role: the service's word for the role.
        """
        text = f"Error: {result.content}" if result.is_error else result.content
        name = names.get(result.id) or ABSENT
        return self._result.render({"id": result.id, "name": name, "text": text, "role": role})

    def tool(self, tool: Tool) -> Any:
        """Return an item for a tool. Raises InvalidRequestError if its schema is not JSON."""
        return self._tool.render(
            {
                "name": tool.name,
                "description": tool.description or ABSENT,
                "parameters": loads(tool.parameters),
            }
        )

    def parse_text(self, item: Any) -> str:
        """Return the text in an item of `{parts}`; `""` if it is of another kind."""
        try:
            found = self._text.parse(item).get("text")
        except InvalidRequestError:
            return ""
        return found if isinstance(found, str) else ""

    def parse_tool(self, item: Any) -> Tool:
        """Return the tool in an item of `{tools}`. Raises InvalidRequestError."""
        found = self._tool.parse(item)
        parameters = encode_body(found.get("parameters", {})).decode()
        return Tool(str(found.get("name", "")), str(found.get("description", "")), parameters)


def _or(described: Any, usual: Any) -> Any:
    return usual if described is None else described


def kind_of(part: ImagePart | FilePart) -> Kind:
    """Return the kind of an image or a file."""
    return "image" if isinstance(part, ImagePart) else "file"


def _file_name(given: str) -> str:
    """Return the name of a file without folders and control characters."""
    last = given.rpartition("/")[2].rpartition("\\")[2]
    name = "".join(char for char in last if char.isprintable())
    if len(name) > MAX_NAME_CHARS:
        name = name[: MAX_NAME_CHARS - _ENDING_CHARS] + name[-_ENDING_CHARS:]
    return name if name.strip(". ") else ""


def file_values(part: ImagePart | FilePart, wanted: set[str]) -> dict[str, Any]:
    """Return the values of the placeholders for an image or a file.

    Raises:
        InvalidRequestError: if its contents are wanted, and it is a link or another service's id.
    """
    kind = kind_of(part)
    if not part.url:
        raise InvalidRequestError("a file that another service keeps cannot be sent to this one")
    data = parse_data_url(part.url)
    if data is None and wanted & CONTENTS:
        raise InvalidRequestError(
            f"this service takes {kind}s only with their contents, as data: URLs in base64"
        )
    name = _file_name(part.name) if isinstance(part, FilePart) else ""
    if data is None:
        return {"url": part.url, "name": name or ABSENT}
    media_type = data.media_type or media_type_of(data.base64)
    if not _MEDIA_TYPE.fullmatch(media_type):
        media_type = "application/octet-stream"  # it goes into a header of a multipart body
    return {
        "url": part.url,
        "data_url": make_data_url(media_type, data.base64),
        "base64": data.base64,
        "media_type": media_type,
        "size": len(data.base64) * 3 // 4 - data.base64.count("=", -2),
        "name": name or f"{kind}.{media_type.partition('/')[2].partition('+')[0] or 'bin'}",
    }
