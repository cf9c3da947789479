"""Holds back an answer until its end, so that a broken one can be replaced."""

from __future__ import annotations

import msgspec

from berlin.providers.contract import Burst, Bursts
from berlin.routing.base.answer import Opening
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest


class Hold(Wrapper):
    """Returns an answer in one burst when it is complete.

    The wrappers below may then retry or try another provider until the very end: for callers who
    value a complete answer over an early start.
    """

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return Opening(self._begin, msgspec.structs.replace(request, whole=True))

    async def _begin(self, answer: Opening, request: ChatRequest) -> Burst:
        return await answer.ask(self.inner, request)
