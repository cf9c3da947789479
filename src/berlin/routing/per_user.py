"""A provider for each user of a service where everybody has a login of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from berlin.errors import KeyRefusedError
from berlin.providers.contract import Bursts, Provider
from berlin.providers.facade import ChatProvider
from berlin.routing.base.answer import Watched
from berlin.routing.base.background import Background
from berlin.types import ChatRequest

MAX_USERS = 1000
CLOSE_S = 5.0


class PerUser(ChatProvider):
    """Answers each request with the provider of its user; those of different users share nothing.

    At most `MAX_USERS` providers are open; of those that have no open request, the one unused for
    longest is closed first. It has to log in again when its user comes back.

    Args:
        name: the provider's name.
        make: returns the provider of a user. Raises ConfigurationError if it cannot be made.
        most: how many are kept.
    """

    def __init__(self, name: str, make: Callable[[str], Provider], most: int = MAX_USERS) -> None:
        self.name = name
        self._make = make
        self._most = most
        self._users: OrderedDict[str, _One] = OrderedDict()
        self._closing = Background()

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `ChatProvider.bursts`.

        Raises:
            KeyRefusedError: if it has no user.
        """
        if not request.user:
            raise KeyRefusedError(
                f"{self.name} is used with the login of each user, and this key belongs to none "
                "(`berlin key add NAME --user USER`)"
            )
        one = self._of(request.user)
        one.open += 1

        def end(how: BaseException | None) -> None:
            one.open -= 1

        return Watched(one.provider.bursts(request), end)

    async def aclose(self) -> None:
        """Close all of them."""
        users, self._users = self._users, OrderedDict()
        for one in users.values():
            await one.provider.aclose()
        await self._closing.settle(CLOSE_S)

    def _of(self, user: str) -> _One:
        one = self._users.get(user)
        if one is None:
            one = self._users[user] = _One(self._make(user))
        self._users.move_to_end(user)
        if len(self._users) > self._most:
            idle = next((name for name, each in self._users.items() if not each.open), None)
            if idle is not None and idle != user:
                self._closing.begin(self._users.pop(idle).provider.aclose())
        return one


class _One:
    """The provider of one user, and the number of its open requests."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.open = 0
