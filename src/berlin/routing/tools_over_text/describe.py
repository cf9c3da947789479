"""Describes tools in a few lines: names, types and choices in full, descriptions as they fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from berlin.routing.tools_over_text.signature import Member, Signature
from berlin.types import Tool
from berlin.wire.json import DECODE_ERRORS

# The characters kept of a tool's description and of its arguments' descriptions:
# the first pair whose list fits is used.
_LEVELS = ((1_200, 240), (600, 160), (320, 100), (200, 60), (120, 0), (60, 0), (0, 0))

_HEADING = re.compile(r"^#+ .*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?](?=\s)|\n\s*\n")


def describe_tools(tools: tuple[Tool, ...], max_chars: int) -> str:
    """Return the list of tools, with descriptions cut until it has about `max_chars`."""
    return _describe_all(tuple((t.name, t.description, t.parameters) for t in tools), max_chars)


@lru_cache(maxsize=64)
def _describe_all(tools: tuple[tuple[str, str, str], ...], max_chars: int) -> str:
    signatures = [(Tool(*tool), _members(tool[2])) for tool in tools]
    text = ""
    for of_tool, of_argument in _LEVELS:
        text = "\n".join(_describe(t, members, of_tool, of_argument) for t, members in signatures)
        if len(text) <= max_chars:
            break
    return text


def _members(parameters: str) -> list[Member]:
    try:
        schema = msgspec.json.decode(parameters)
    except DECODE_ERRORS:
        return []
    return Signature(schema).members()


def _describe(tool: Tool, members: Sequence[Member], of_tool: int, of_argument: int) -> str:
    arguments = ", ".join(map(str, members))
    said = shorten(tool.description, of_tool)
    lines = [f"- {tool.name}({arguments}){': ' if said else ''}{said}"]
    for member in members:
        said = shorten(member.description, of_argument)
        if said:
            lines.append(f"    {member.name}: {said}")
    return "\n".join(lines)


def shorten(text: str, max_chars: int) -> str:
    """Return the first sentences of a text, in one line without headings.

    It has at most `max_chars`: if not even the first sentence fits, it is cut at a word.
    """
    if max_chars <= 0:
        return ""
    text = _HEADING.sub("", text)
    whole = " ".join(text.split())
    if len(whole) <= max_chars:
        return whole
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if end.start() < 4 * max_chars]
    for end in reversed(ends):
        sentences = " ".join(text[:end].split())
        if len(sentences) <= max_chars:
            return sentences
    return f"{whole[: max_chars - 1].rpartition(' ')[0] or whole[: max_chars - 1]}…"
