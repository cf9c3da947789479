"""Builds a format from the table `[chat]`: a built-in one, or a described one."""

from __future__ import annotations

import msgspec

from berlin.formats.contract import Format
from berlin.formats.described.around import AroundFormat, needs_more
from berlin.formats.described.format import MappedFormat
from berlin.formats.habits import Habits
from berlin.language.tables.chat import ChatMap


def build_format(
    chat: ChatMap, default_model: str, session: frozenset[str] = frozenset()
) -> Format:
    """Return the compiled format.

    Args:
        chat: the description.
        default_model: the model of requests that name none.
        session: the placeholders of the login.

    Raises:
        ConfigurationError: if the description is invalid.
    """
    if chat.format == "described":
        return MappedFormat(chat, default_model, session)
    if not needs_more(chat):
        return _known(chat, default_model)[0]
    # What the recipe adds goes around the format; `rename` of options stays its own.
    plain = msgspec.structs.replace(chat, json=None, path=None)
    inner, path = _known(plain, default_model)
    return AroundFormat(inner, chat, path, default_model, session)


def _known(chat: ChatMap, default_model: str) -> tuple[Format, str]:
    """Return a built-in format and its path."""
    # Each is imported on use: a program usually needs one of them.
    rename = {ours: theirs for ours, theirs in chat.rename.items() if ours != "model"}
    stream = chat.stream if isinstance(chat.stream, str) else "always"
    habits = Habits(
        stream,
        chat.developer_role,
        chat.tool_id_length,
        chat.text_content,
        chat.reasoning_back,
    )
    match chat.format:
        case "openai-chat":
            from berlin.formats.openai.format import CHAT_PATH, OpenAIChatFormat

            path = chat.path or CHAT_PATH
            return OpenAIChatFormat(default_model, path, chat.json, rename, habits), path
        case "openai-responses":
            from berlin.formats.responses.format import RESPONSES_PATH, ResponsesFormat

            path = chat.path or RESPONSES_PATH
            return ResponsesFormat(default_model, path, chat.json, rename, habits), path
        case "anthropic-messages":
            from berlin.formats.anthropic.format import MESSAGES_PATH, AnthropicMessagesFormat

            path = chat.path or MESSAGES_PATH
            return AnthropicMessagesFormat(default_model, path, chat.json, rename, habits), path
        case "ollama-chat":
            from berlin.formats.ollama.format import CHAT_PATH as OLLAMA_PATH
            from berlin.formats.ollama.format import OllamaChatFormat

            path = chat.path or OLLAMA_PATH
            return OllamaChatFormat(default_model, path, chat.json, rename, habits), path
        case "described":
            raise AssertionError("a described format is not a known one")
