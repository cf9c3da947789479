"""Adds tools and JSON output to a text-only provider."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from berlin.errors import InvalidRequestError
from berlin.language.tables.tool_prompt import ToolPrompt, ToolsMode
from berlin.providers.contract import LONG_CONVERSATION, Bursts, Provider
from berlin.types import ChatRequest, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from berlin.routing.tools_over_text.emulation import Emulation


class ToolsOverText:
    """Offers tools in the prompt, and parses calls from the answer's text.

    Args:
        inner: the service.
        mode: `emulate`; `ignore`, which drops the tools with a note; `refuse`.
        prompt: the wording.
        takes_images: whether the service does.
        takes_json: whether it supports structured output.
        keeps_conversations: whether it does: follow-up questions are then sent in that
            conversation.
    """

    def __init__(
        self,
        inner: Provider,
        mode: ToolsMode = "emulate",
        prompt: ToolPrompt = ToolPrompt(),  # noqa: B008  # frozen
        *,
        takes_images: bool = False,
        takes_json: bool = False,
        keeps_conversations: bool = False,
    ) -> None:
        self.inner = inner
        self._mode = mode
        self._prompt = prompt
        self._takes_images = takes_images
        self._takes_json = takes_json
        self._keeps_conversations = keeps_conversations

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`. Raises InvalidRequestError if tools are refused."""
        is_plain = not request.tools and (self._takes_json or request.response_format is None)
        if is_plain and _without_calls(request):
            return self.inner.bursts(request)
        if self._mode == "refuse" and request.tools:
            raise InvalidRequestError.about(
                "tools", 'this service has no tools; tools = "emulate" offers them in the prompt'
            )
        dropped = tuple(tool.name or "tools" for tool in request.tools if tool.hosted)
        if self._mode == "ignore" and request.tools:
            dropped = ("tools",)
            request = msgspec.structs.replace(request, tools=(), tool_choice="auto")
        return self._emulation.answer(request, dropped)

    async def aclose(self) -> None:
        """Release connections."""
        await self.inner.aclose()

    @cached_property
    def _emulation(self) -> Emulation:
        # Imported with the first request that has tools: most programs never send one.
        from berlin.routing.tools_over_text.emulation import Emulation

        return Emulation(
            self.inner,
            self._prompt,
            takes_images=self._takes_images,
            takes_json=self._takes_json,
            keeps_conversations=self._keeps_conversations,
        )


_TOOL_PARTS = (ToolCallPart, ToolResultPart)


def _without_calls(request: ChatRequest) -> bool:
    """Return whether no message holds a call or a result; a long one is not searched here."""
    messages = request.messages
    if not {message.role for message in messages} & {"assistant", "tool"}:
        return True
    return len(messages) <= LONG_CONVERSATION and not _has_calls(request)


def _has_calls(request: ChatRequest) -> bool:
    for message in request.messages:
        for part in message.parts:
            if type(part) in _TOOL_PARTS:
                return True
    return False
