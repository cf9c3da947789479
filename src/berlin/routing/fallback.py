"""Tries the next provider when one fails, so that there is an answer even if services are down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from berlin.errors import (
    BerlinError,
    ContentFilterError,
    ContextLengthError,
    FailedAttempt,
    InvalidRequestError,
    ModelNotFoundError,
    RequestRejectedError,
)
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.base.answer import Opening
from berlin.routing.base.attempts import combine, failed_attempts, with_attempts, within
from berlin.routing.base.continuing import Continued
from berlin.routing.base.wrapper import (
    is_working,
    lacks,
    name_of,
    timeouts_of,
)
from berlin.types import ChatRequest, Finished, Timeouts

AfterText: TypeAlias = Literal["error", "continue", "hold"]
CONTINUES = 2
# It does not have the model (any more), or takes only shorter requests.
_OF_ONE_PROVIDER = (404, 413)


class Fallback(ChatProvider):
    """Tries an ordered list of providers until one starts to answer.

    A provider known to lack what the request needs (tools, images, context length) is skipped.
    An error in the request itself is raised immediately; a conversation that is too long for
    one model goes to the next. If all fail, the error is that of the first, and names the others.

    Args:
        *providers: the providers, in order.
        break_after_text: what to do when an answer breaks off after text was shown. `error`:
            raise it. `continue`: let the next provider continue where it broke off, if it is known
            to support that. `hold`: show nothing until the answer is complete.
        filtered_too: whether to try the next provider when a content filter refuses.
        continues: the most continuations of one answer.
        timeouts: the limits of requests that set none; by default those of the first provider.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        *providers: Provider,
        break_after_text: AfterText = "error",
        filtered_too: bool = False,
        continues: int = CONTINUES,
        timeouts: Timeouts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not providers:
            raise ValueError(f"{type(self).__name__} needs at least one provider")
        self.providers: Sequence[Provider] = providers
        self.break_after_text = break_after_text
        self.filtered_too = filtered_too
        self.continues = continues
        self._timeouts = timeouts
        self.clock = clock

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return self._timeouts or timeouts_of(self.providers[0])

    @property
    def working(self) -> bool:
        """Whether one of the providers works, as far as observed."""
        return any(is_working(provider) for provider in self.providers)

    @property
    def prefills(self) -> bool | None:
        """Whether all of them can continue a started answer; `None` if unknown."""
        known = {getattr(provider, "prefills", None) for provider in self.providers}
        return known.pop() if len(known) == 1 else None

    def lacks(self, request: ChatRequest) -> str:
        """Return a feature that the request needs and all providers are known to lack, or `""`."""
        missing = [lacks(provider, request) for provider in self.providers]
        return missing[0] if all(missing) else ""

    def order(self, request: ChatRequest) -> Sequence[Provider]:
        """Return the providers in the order in which they will be tried."""
        return self.providers

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        if self.break_after_text == "hold" and not request.whole:
            request = msgspec.structs.replace(request, whole=True)
        answer = _FirstThatAnswers(self, request)
        if self.break_after_text == "continue" and request.stream and not request.whole:
            return Continued(answer, request, self.continues, self.clock)
        return answer

    def may_fall_back(self, error: BerlinError) -> bool:
        """Return whether another provider is tried after this error."""
        match error:
            case ContextLengthError():
                return True
            case ContentFilterError():
                return self.filtered_too
            case ModelNotFoundError():
                return False
            case InvalidRequestError():
                return True  # nothing was sent: this provider's format cannot express it
            case RequestRejectedError() if error.status in _OF_ONE_PROVIDER:
                return True
        return error.fallback

    async def aclose(self) -> None:
        """Release connections."""
        await asyncio.gather(*(provider.aclose() for provider in self.providers))


class _FirstThatAnswers(Opening):
    """Tries one provider after the other; `try_next` continues with those not yet tried."""

    def __init__(self, fallback: Fallback, request: ChatRequest) -> None:
        super().__init__(self._try, request)
        self._fallback = fallback
        self._left: list[Provider] | None = None
        self._ends_at = 0.0

    def try_next(self, request: ChatRequest) -> bool:
        """Prepare the next provider that can continue answers; return whether there is one."""
        self._left = [
            provider for provider in self._left or () if getattr(provider, "prefills", None)
        ]
        self._request = request
        self._rest, self._ended = None, False
        return bool(self._left)

    async def _try(self, _: Opening, asked: ChatRequest) -> Burst:
        fallback, clock = self._fallback, self._fallback.clock
        if self._left is None:
            self._ends_at = clock() + (asked.timeouts or fallback.timeouts).total
            self._left = self._candidates()
        failed: tuple[FailedAttempt, ...] = ()
        errors: list[BerlinError] = []
        while self._left:
            provider = self._left.pop(0)
            began_at = clock()
            request = within(asked, timeouts_of(provider), self._ends_at - began_at)
            try:
                first = await self.ask(provider, request)
                if fallback.filtered_too and _is_filtered(first):
                    await self.asked.aclose()
                    raise ContentFilterError("a content filter of the service ended the answer")
            except BerlinError as error:
                failed += failed_attempts(error, request, began_at, clock())
                errors.append(error)
                if not fallback.may_fall_back(error) or clock() >= self._ends_at:
                    break
                if isinstance(error, ContextLengthError):
                    self._left = [p for p in self._left if _has_more_room(p, provider)]
            else:
                return with_attempts(first, failed, began_at, name_of(provider))
        raise combine(errors, failed)

    def _candidates(self) -> list[Provider]:
        """Return the providers to try: all not known to lack what the request needs.

        If none remain, the first is tried anyway: its refusal is more specific than ours.
        """
        ordered = self._fallback.order(self._request)
        return [p for p in ordered if not lacks(p, self._request)] or list(ordered[:1])


def _has_more_room(other: Provider, than: Provider) -> bool:
    theirs, ours = (getattr(each, "context_tokens", None) for each in (other, than))
    return theirs is None or ours is None or theirs > ours


def _is_filtered(first: Burst) -> bool:
    last = first[-1]
    return type(last) is Finished and last.reason == "content_filter"
