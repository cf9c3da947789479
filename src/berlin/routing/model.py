"""One model of one provider, as a provider: the unit that other wrappers choose from."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec

from berlin.errors import BerlinError
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.routing.base.answer import Opening
from berlin.routing.base.attempts import split_started
from berlin.routing.base.wrapper import Wrapper
from berlin.types import ChatRequest, ImagePart, Timeouts

# A text has at least one token for this many characters; most have more.
MOST_CHARS_PER_TOKEN = 6


class Model(Wrapper):
    """Requests one model of a provider, and names both in the answer.

    Args:
        inner: the provider.
        name: its name, for headers, logs and messages.
        model: the provider's own name of the model; `""` keeps the request's model.
        capabilities: what it can do besides text (`tools`, `images`, `json` …); `None` if unknown.
        context_tokens: the size of the context window in tokens; `None` if unknown.
        prefill: whether it can continue a started answer (prefill); `None` if unknown.
        first_event_s: the most seconds until the first event.
        idle_s: the most seconds between two events.
    """

    def __init__(
        self,
        inner: Provider,
        name: str = "",
        model: str = "",
        *,
        capabilities: Iterable[str] | None = None,
        context_tokens: int | None = None,
        prefill: bool | None = None,
        first_event_s: float | None = None,
        idle_s: float | None = None,
    ) -> None:
        super().__init__(inner)
        self.name = name
        self.model = model
        self.capabilities = None if capabilities is None else frozenset(capabilities)
        self.context_tokens = context_tokens
        self.prefills = prefill
        self._first_event_s = first_event_s
        self._idle_s = idle_s

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return self._limited(super().timeouts)

    def lacks(self, request: ChatRequest) -> str:
        """Return a feature that the request needs and this model is known to lack, or `""`."""
        if self.capabilities is not None:
            if request.tools and "tools" not in self.capabilities:
                return "tools"
            if "images" not in self.capabilities and _has_images(request):
                return "images"
        if self.prefills is False and request.messages[-1].role == "assistant":
            return "continuing a started answer"
        if self.context_tokens is not None:
            chars = sum(len(message.text) for message in request.messages)
            if chars > self.context_tokens * MOST_CHARS_PER_TOKEN:
                return f"room for {chars} characters"
        return ""

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        timeouts = self._limited(request.timeouts or super().timeouts)
        model = self.model or request.model
        return Opening(
            self._begin, msgspec.structs.replace(request, model=model, timeouts=timeouts)
        )

    async def _begin(self, answer: Opening, request: ChatRequest) -> Burst:
        began_at = time.monotonic()
        try:
            first = await answer.ask(self.inner, request)
        except BerlinError as error:
            # With the name that the user gave it, not the recipe's.
            error.provider = self.name or error.provider
            error.model = error.model or request.model or None
            raise
        started, rest = split_started(first)
        named = msgspec.structs.replace(
            started,
            provider=self.name or started.provider,
            model=request.model or started.model,
            began_at=began_at,
        )
        return [named, *rest]

    def _limited(self, timeouts: Timeouts) -> Timeouts:
        if self._first_event_s is None and self._idle_s is None:
            return timeouts
        return msgspec.structs.replace(
            timeouts,
            first_event=min(timeouts.first_event, self._first_event_s or timeouts.first_event),
            idle=min(timeouts.idle, self._idle_s or timeouts.idle),
        )


def _has_images(request: ChatRequest) -> bool:
    return any(isinstance(part, ImagePart) for m in request.messages for part in m.parts)
