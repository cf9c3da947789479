"""The table `[chat]` of a recipe: how requests are written and answers are read."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from berlin.language.step import BODIES, Step
from berlin.language.tables.conversation import MessagesMap
from berlin.language.tables.parts import UploadMap
from berlin.language.tables.socket import SocketMap
from berlin.language.tables.stream import StreamMap

FormatName: TypeAlias = Literal[
    "described", "openai-chat", "openai-responses", "anthropic-messages", "ollama-chat"
]

StreamMode: TypeAlias = Literal["always", "never", "as asked"]
"""Whether to request streamed answers; `as asked` leaves it to the client."""

ReasoningBack: TypeAlias = Literal["any", "reasoning", "reasoning_content", "thinking", "none"]
"""How a service takes back the reasoning of earlier turns."""


_DESCRIBED_ONLY = (
    *("form", "multipart", "body", "poll_s", "socket", "meanwhile", "options", "upload"),
)
"""Keys that a known format decides by itself."""


class ChatMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[chat]` of a recipe.

    Attributes:
        format: `openai-chat`, `openai-responses`, `anthropic-messages` or `ollama-chat`: a format
            built into Berlin. Then `path`, `json` (members that every request has) and `rename` may
            differ from it, and nothing else is needed. `described`: as this table says.
        path: where the chat is sent, below the endpoint's URL, or an absolute URL; may contain
            placeholders.
        method: the HTTP method.
        query: parameters of the URL, with placeholders.
        headers: headers with placeholders.
        json: the body as JSON, with the placeholders `{prompt}`, `{messages}`, `{system}`,
            `{model}`, `{conversation_id}`, `{parent_id}`, `{uuid4}` (a new random id), `{images}`
            and `{files}` (lists), `{tools}` and `{tool_choice}`, and whatever `prepare` extracts.
        form: the body as a form, with the same placeholders.
        multipart: the body as multipart fields, with the same placeholders.
        body: the body as text, with the same placeholders.
        upload: requests that are sent for each image and file, before all others.
        prepare: requests sent before the chat, such as one that creates a conversation.
        meanwhile: requests sent once the answer's stream is open, such as the one with the
            question, where a service answers on a stream that was opened before.
        after: requests sent after the answer, such as one that closes a session. Their responses
            are ignored.
        let: placeholders whose value is shared by all requests of a chat, such as
            `nonce = "{random_hex:16}"`.
        socket: the WebSocket that the chat uses, if any.
        poll_s: seconds between polls, for a service that is sent the same request until the answer
            has a finish reason.
        messages: how the conversation is written.
        options: pointer to the object in the body that takes the caller's options; `""` is the
            body itself. `"ignore"` drops them all, and the header `x-berlin-dropped` names them.
            Without it, options are refused, except `max_tokens`, which is dropped, and options that
            clients send by default with a value that has no effect.
        drop: options that clients send anyway and that the service does not support, such as
            `temperature`: they are dropped, and the header `x-berlin-dropped` names them.
        rename: the service's names of options, such as `max_tokens = "maxOutputTokens"`; with a
            known format, also the name of `model`.
        omit: members of the body that a known format would send and this service does not take,
            such as a `model` that is in the path.
        stream: what the answer looks like. With a built-in format: whether to request streamed
            answers, `always`, `never`, or `as asked` by the client.
        developer_role: what the service calls the role `developer`; with a known format.
        tool_id_length: the number of letters and digits that tool call ids must have; with a known
            format.
        text_content: whether a text-only message must be one string; with a known
            format.
        cache_markers: whether a service of the format `openai-chat` takes Anthropic's
            `cache_control` in parts of messages, as gateways to Anthropic's models do.
        reasoning_back: how a service of the format `openai-chat` takes back what it reasoned:
            `any`, under the name that the client sends; `reasoning`, only under that name;
            `reasoning_content`, under that name also what another service reasoned;
            `thinking`, as a part of the content; `none`, not at all. What it does not take is left
            out.
    """

    format: FormatName = "described"
    path: str | None = None
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    json: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    multipart: dict[str, Any] | None = None
    body: str | None = None
    upload: list[UploadMap] = []
    prepare: list[Step] = []
    meanwhile: list[Step] = []
    after: list[Step] = []
    let: dict[str, str] = {}
    socket: SocketMap | None = None
    poll_s: float | None = None
    messages: MessagesMap = MessagesMap()
    options: str | None = None
    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    omit: list[str] = []
    stream: StreamMap | StreamMode | None = None
    developer_role: str = "system"
    tool_id_length: int = 0
    text_content: bool = False
    reasoning_back: ReasoningBack = "any"
    cache_markers: bool = False

    def step(self, path: str) -> Step:
        """Return the chat's request as a step."""
        bodies = {kind: getattr(self, kind) for kind in BODIES}
        return Step(path, self.method, self.query, headers=self.headers, **bodies)

    @property
    def described_stream(self) -> StreamMap | None:
        """The description of the answer, where there is one."""
        return self.stream if isinstance(self.stream, StreamMap) else None

    def __post_init__(self) -> None:
        if self.poll_s is not None and not 0.05 <= self.poll_s <= 60:
            raise ValueError("poll_s must be from 0.05 to 60 seconds")
        if self.meanwhile and (self.poll_s is not None or self.socket is not None):
            raise ValueError("meanwhile: not with poll_s or [chat.socket]")
        if self.format != "described":
            odd = [name for name in _DESCRIBED_ONLY if getattr(self, name)]
            if isinstance(self.stream, StreamMap):
                odd.append("stream")
            if odd:
                raise ValueError(
                    f"{' and '.join(odd)}: not with format = {self.format!r}, which says that"
                )
        elif isinstance(self.stream, str):
            raise ValueError("stream: a described format needs the table [chat.stream]")
