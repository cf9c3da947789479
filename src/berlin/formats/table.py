"""The fate of a dialect's members in other dialects: one table for each dialect.

Members that both ends have are carried unchanged. A member specific to the client's dialect is
handled by the client's table (`own`); a common member that the service's dialect cannot express is
handled by the service's table (`lacks`). docs/dialects.md is generated from the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.errors import InvalidRequestError
from berlin.types import (
    ChatRequest,
    ImagePart,
    MaybeExtra,
    OpaquePart,
    Part,
    ReasoningPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

Fate: TypeAlias = Literal["translated", "dropped", "refused"]
"""`translated`: expressed in the other dialect. `dropped`: left out and named in the header
`x-berlin-dropped`, because it affects neither the answer nor the bill. `refused`: a 400 that names
the member."""

NEUTRAL: Mapping[str, Any] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "repeat_penalty": 1,
    "logit_bias": {},
    "stop": [],
    "signature": "",
    "logprobs": False,
    "top_logprobs": 0,
    "n": 1,
    "seed": None,
    "min_p": 0,
    "modalities": ["text"],
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "store": False,
    "metadata": {},
    "functions": [],
    "mcp_servers": [],
    "container": None,
}
"""Values without effect: clients send them by default, and they can be left out anywhere."""


def is_neutral(name: str, value: Any) -> bool:
    """Return whether an option has no effect at this value."""
    if value is None:
        return True
    neutral = NEUTRAL.get(name, _NOTHING)
    return (
        neutral is not _NOTHING
        and value == neutral
        and (type(value) is bool) == (type(neutral) is bool)
    )


_NOTHING = object()


class Table(msgspec.Struct, frozen=True):
    """The table of one dialect.

    Attributes:
        own: its members unknown to the hub, by path (`service_tier`,
            `messages.name`, `content.detail`, `tools.strict` …), and their fate in another dialect.
            Members that are not listed are dropped; parts, which are content, are refused.
        lacks: members of the hub that it cannot express, and their fate here.
        shares: members of other dialects that mean the same here and are taken unchanged.
    """

    dialect: str
    own: Mapping[str, Fate] = {}
    lacks: Mapping[str, Fate] = {}
    shares: frozenset[str] = frozenset()

    def fate(self, path: str) -> Fate:
        """Return the fate of a member of this dialect in another one."""
        return self.own.get(path, "refused" if path.startswith("content.type.") else "dropped")


def fates(*, refused: str = "", dropped: str = "", translated: str = "") -> dict[str, Fate]:
    """Return the fates of members, which are listed by their fate."""
    given: dict[Fate, str] = {"refused": refused, "dropped": dropped, "translated": translated}
    return {name: fate for fate, names in given.items() for name in names.split()}


def table_of(dialect: str) -> Table:
    """Return the table of a dialect; one without a table has an empty one."""
    try:
        module = import_module(f"berlin.formats.{dialect}.table")
    except ModuleNotFoundError:
        return Table(dialect)
    table = getattr(module, "TABLE", None)
    return table if isinstance(table, Table) else Table(dialect)


_LEVELS: Mapping[type[Part], str] = {
    ToolCallPart: "tool_calls.",
    ToolResultPart: "tool_results.",
}


class Carrier:
    """Carries the members of a client's dialect into a service's dialect.

    Args:
        table: the table of the service's dialect.
        more: more members of other dialects that this service takes unchanged.
    """

    def __init__(self, table: Table, more: frozenset[str] = frozenset()) -> None:
        self._table = table
        self._shares = table.shares | more
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The members left out, in order."""
        return tuple(self._dropped)

    def drop(self, path: str) -> None:
        """Record a member that is left out."""
        self._dropped[path] = None

    def own(self, extra: MaybeExtra, level: str = "") -> Mapping[str, Any]:
        """Return the members that this dialect can express; the others are left out.

        Args:
            level: its path, such as `tools.`; `""` is the request.

        Raises:
            InvalidRequestError: if one of them must not be left out.
        """
        if extra is None:
            return {}
        if extra.dialect == self._table.dialect:
            return extra.members
        taken = {}
        for name, value in extra.members.items():
            if level + name in self._shares:
                taken[name] = value
            elif not is_neutral(name, value):
                self._leave_out(table_of(extra.dialect).fate(level + name), level + name)
        return taken

    def takes(self, word: str, value: Any) -> bool:
        """Return whether this dialect can express a hub member with this value.

        Raises:
            InvalidRequestError: if it cannot, and the member must not be left out.
        """
        fate = self._table.lacks.get(word)
        if fate is None:
            return True
        if not is_neutral(word, value):
            self._leave_out(fate, word)
        return False

    def tools(self, tools: tuple[Tool, ...]) -> list[Tool]:
        """Return the tools without those that only a service of another dialect runs itself.

        Raises:
            InvalidRequestError: if none is left.
        """
        kept = []
        for tool in tools:
            extra = tool.extra
            if tool.hosted and extra is not None and extra.dialect != self._table.dialect:
                self.drop(f"tools.{extra.members.get('type', tool.name)}")
            else:
                kept.append(tool)
        if tools and not kept:
            raise InvalidRequestError.about(
                "tools", f"{tools[0].name!r} runs only at services of another kind; leave it out"
            )
        return kept

    def opaque(self, part: OpaquePart) -> Mapping[str, Any] | str:
        """Return a dialect-specific part if it belongs to this dialect, else the text that replaces
        it.

        Raises:
            InvalidRequestError: if it can be neither expressed nor left out.
        """
        if part.extra.dialect == self._table.dialect:
            return part.extra.members
        if not part.text:
            kind = str(part.extra.members.get("type", "unknown"))
            self._leave_out(table_of(part.extra.dialect).fate(f"content.type.{kind}"), kind)
        return part.text

    def opaque_items(self, part: OpaquePart, kind: str = "text") -> Iterator[dict[str, Any]]:
        """Yield a dialect-specific part as it is, or a part of this kind with the text for it."""
        known = self.opaque(part)
        if not isinstance(known, str):
            yield dict(known)
        elif known:
            yield {"type": kind, "text": known}

    def image_url(self, part: ImagePart) -> str:
        """Return the URL of an image.

        Raises:
            InvalidRequestError: if there is none, only another service's id of a file.
        """
        if not part.url:
            raise InvalidRequestError.about(
                "content.source", "this service does not have that file; send the image itself"
            )
        return part.url

    def drop_extras(self, request: ChatRequest) -> None:
        """Record all members specific to the client's dialect.

        Raises:
            InvalidRequestError: if one of them must not be left out.
        """
        self.own(request.extra)
        for tool in request.tools:
            self.own(tool.extra, "tools.")
        for message in request.messages:
            self.own(message.extra, "messages.")
            for part in message.parts:
                self._drop_part(part)

    def _drop_part(self, part: Part) -> None:
        if isinstance(part, OpaquePart):
            self.opaque(part)
            return
        if isinstance(part, ReasoningPart):
            # As a whole: a service that is described has no place for it.
            if part.text or (part.extra is not None and any(part.extra.members.values())):
                self.drop("messages.reasoning")
            return
        self.own(part.extra, _LEVELS.get(type(part), "content."))
        if isinstance(part, ToolResultPart):
            for inner in part.parts:
                self._drop_part(inner)

    def _leave_out(self, fate: Fate, path: str) -> None:
        if fate == "refused":
            raise InvalidRequestError.about(
                path, "the service behind this model has nothing like it; leave it out"
            )
        if fate == "dropped":
            self._dropped[path] = None
