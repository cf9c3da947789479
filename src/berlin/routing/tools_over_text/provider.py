"""Adds tools and JSON output to a text-only provider."""

from __future__ import annotations

import msgspec

from berlin.errors import InvalidRequestError
from berlin.language.tables.tool_prompt import ToolPrompt, ToolsMode
from berlin.providers.contract import LONG_CONVERSATION, Bursts, Provider
from berlin.types import ChatRequest, ToolCallPart, ToolResultPart


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
        self.prompt = prompt
        self.takes_images = takes_images
        self.takes_json = takes_json
        self.keeps_conversations = keeps_conversations

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`. Raises InvalidRequestError if tools are refused."""
        is_plain = not request.tools and (self.takes_json or request.response_format is None)
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
        # Imported with the first request that has tools: most programs never send one.
        from berlin.routing.tools_over_text.emulation import emulate

        return emulate(self, request, dropped)

    async def aclose(self) -> None:
        """Release connections."""
        await self.inner.aclose()


def _without_calls(request: ChatRequest) -> bool:
    """Return whether no message holds a call or a result; a long one is not searched here."""
    messages = request.messages
    if not {message.role for message in messages} & {"assistant", "tool"}:
        return True
    if len(messages) > LONG_CONVERSATION:
        return False
    return not any(
        type(part) in (ToolCallPart, ToolResultPart)
        for message in messages
        for part in message.parts
    )
