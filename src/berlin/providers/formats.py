"""From the table `[chat]` to a format: a known one, or the one that is described."""

from __future__ import annotations

from berlin.wire.chat_map import ChatMap
from berlin.wire.format import Format
from berlin.wire.mapped import MappedFormat


def build_format(chat: ChatMap, default_model: str) -> Format:
    """Return the compiled format.

    Args:
        chat: the description.
        default_model: for requests that name none.

    Raises:
        ConfigurationError: if the description cannot be right.
    """
    # Each is loaded when it is used: a program needs one of them.
    match chat.format:
        case "openai-chat":
            from berlin.wire.openai_chat import CHAT_PATH, OpenAIChatFormat

            path = chat.path or CHAT_PATH
            return OpenAIChatFormat(default_model, path, chat.json, chat.rename)
        case "anthropic-messages":
            from berlin.wire.anthropic_messages import MESSAGES_PATH, AnthropicMessagesFormat

            path = chat.path or MESSAGES_PATH
            return AnthropicMessagesFormat(default_model, path, chat.json, chat.rename)
        case "ollama-chat":
            from berlin.wire.ollama_chat import CHAT_PATH as OLLAMA_PATH
            from berlin.wire.ollama_chat import OllamaChatFormat

            path = chat.path or OLLAMA_PATH
            return OllamaChatFormat(default_model, path, chat.json, chat.rename)
        case "described":
            return MappedFormat(chat, default_model)
