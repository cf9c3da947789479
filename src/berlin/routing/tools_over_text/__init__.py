"""Tools for services that take only text: offered in the prompt, called by fenced blocks."""

from berlin.routing.tools_over_text.provider import ToolsOverText

__all__ = ["ToolsOverText"]
