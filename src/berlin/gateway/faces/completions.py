"""OpenAI's older completions: a prompt in, text out, with and without `/v1`."""

from __future__ import annotations

from aiohttp import web

from berlin.errors import BerlinError
from berlin.formats.openai.completions import OpenAICompletionsFormat
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route


class CompletionsFace:
    """The API for older clients of OpenAI.

    Args:
        gateway: the shared gateway.
    """

    name = "openai"
    prefixes: tuple[str, ...] = ("/v1/completions", "/completions")

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._format = OpenAICompletionsFormat()

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        return [Route("POST", path, self._complete) for path in self.prefixes]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body of an error."""
        return self._format.encode_error(error)

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._gateway.answer_chat(request, self._format)
