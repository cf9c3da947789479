"""Builds a format from the table `[chat]`: a built-in one, or a described one."""

from __future__ import annotations

import msgspec

from berlin.formats.contract import Format
from berlin.formats.described.around import AroundFormat, needs_more
from berlin.formats.described.format import MappedFormat
from berlin.formats.dialect import DialectFormat
from berlin.language.tables.chat import ChatMap


def build_format(
    chat: ChatMap,
    default_model: str,
    session: frozenset[str] = frozenset(),
    *,
    makes_ids: bool = False,
) -> Format:
    """Return the compiled format. Raises ConfigurationError.

    Args:
        default_model: the model of requests that name none.
        session: the placeholders of the login.
        makes_ids: whether a described chat that names no conversation gets a new id.
    """
    if chat.format == "described":
        return MappedFormat(chat, default_model, session, makes_ids=makes_ids)
    known = _class_of(chat.format)
    if not needs_more(chat):
        return known(default_model, chat)
    # What the recipe adds goes around the format; `rename` of options stays its own.
    inner = known(default_model, msgspec.structs.replace(chat, json=None, path=None))
    around = msgspec.structs.replace(chat, path=path_of(chat))
    return AroundFormat(inner, around, default_model, session)


def path_of(chat: ChatMap) -> str:
    """Return the path of the chat: the dialect's own, unless the table sets one."""
    return chat.path or _class_of(chat.format).chat_path


def _class_of(format: str) -> type[DialectFormat]:
    # Each is imported on use: a program usually needs one of them.
    match format:
        case "openai-chat":
            from berlin.formats.openai.format import OpenAIChatFormat

            return OpenAIChatFormat
        case "openai-responses":
            from berlin.formats.responses.format import ResponsesFormat

            return ResponsesFormat
        case "anthropic-messages":
            from berlin.formats.anthropic.format import AnthropicMessagesFormat

            return AnthropicMessagesFormat
        case "ollama-chat":
            from berlin.formats.ollama.format import OllamaChatFormat

            return OllamaChatFormat
    raise AssertionError("a described format is not a known one")
