"""The base class of composed providers."""

from __future__ import annotations

from collections.abc import Callable

from berlin.providers.contract import Bursts, Provider
from berlin.providers.facade import ChatProvider
from berlin.types import ChatRequest, Timeouts


class Wrapper(ChatProvider):
    """A provider around another one; everything it does not change is passed through.

    Args:
        inner: the wrapped provider.

    Attributes:
        name: its name, for messages; `""` if it has none.
        prefills: whether it can continue a started answer (prefill); `None` if unknown.
        context_tokens: the size of the context window in tokens; `None` if unknown.
    """

    def __init__(self, inner: Provider) -> None:
        self.inner = inner
        self.name = name_of(inner)
        self.prefills: bool | None = getattr(inner, "prefills", None)
        self.context_tokens: int | None = getattr(inner, "context_tokens", None)

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return timeouts_of(self.inner)

    @property
    def working(self) -> bool:
        """Whether it works, as far as observed."""
        return is_working(self.inner)

    def lacks(self, request: ChatRequest) -> str:
        """Return a feature that the request needs and this provider is known to lack, or `""`."""
        return lacks(self.inner, request)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        return self.inner.bursts(request)

    async def models(self) -> tuple[str, ...]:
        """Return the models; see `ChatProvider.models`."""
        inner = self.inner
        return await inner.models() if isinstance(inner, ChatProvider) else ()

    async def check(self) -> None:
        """Check that requests can be sent; see `ChatProvider.check`."""
        if isinstance(self.inner, ChatProvider):
            await self.inner.check()

    def watch_logins(self, observe: Callable[[str], None]) -> None:
        """Call a function after each login from now on; see `ChatProvider.watch_logins`."""
        if isinstance(self.inner, ChatProvider):
            self.inner.watch_logins(observe)

    async def aclose(self) -> None:
        """Close connections."""
        await self.inner.aclose()


# Any provider can be wrapped; what it does not declare is unknown.


def name_of(provider: Provider) -> str:
    """Return the name of a provider, for messages; `""` if it has none."""
    return str(getattr(provider, "name", ""))


def timeouts_of(provider: Provider) -> Timeouts:
    """Return the limits of requests that set none."""
    timeouts = getattr(provider, "timeouts", None)
    return timeouts if isinstance(timeouts, Timeouts) else Timeouts()


def is_working(provider: Provider) -> bool:
    """Return whether a provider works, as far as observed."""
    return bool(getattr(provider, "working", True))


def lacks(provider: Provider, request: ChatRequest) -> str:
    """Return a feature that the request needs and the provider is known to lack, or `""`."""
    check = getattr(provider, "lacks", None)
    return check(request) if check is not None else ""
