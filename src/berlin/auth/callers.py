"""Authentication on behalf of callers: each with the token that their own was exchanged for."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from berlin.auth.authenticator import Authenticator
from berlin.auth.contract import Flow, Send
from berlin.auth.grant import Grant
from berlin.auth.tokens.backoff import BUSY, Backoff
from berlin.errors import AuthenticationError, KeyRefusedError
from berlin.types import Identity, Secret

MAX_CALLERS = 1024

# The identity provider refuses the token (RFC 6749, 5.2: 400 for `invalid_grant`); 401 would mean
# that it does not know Berlin itself.
_REFUSES_THE_CALLER = (400, 403)


class CallerAuthenticator(Authenticator):
    """Authenticates the requests of one caller, whose token is among its credentials.

    Attributes:
        pause: the pause that all callers keep when the identity provider is busy.
    """

    pause: Backoff

    def token_at_hand(self) -> Secret | None:
        """Return the token if there is no login to wait for; see `Authenticator`."""
        with _refused_as_caller_error():
            return super().token_at_hand()

    async def token(self, send: Send) -> Secret | None:
        """Return a token, exchanging the caller's if necessary; see `Authenticator`.

        Raises:
            KeyRefusedError: if the identity provider refuses the caller's token.
        """
        with _refused_as_caller_error():
            return await super().token(send)

    async def _login(self, flow: Flow, refresh_token: Secret | None, send: Send) -> Grant:
        self.pause.check()
        try:
            grant = await super()._login(flow, refresh_token, send)
        except BUSY as error:
            self.pause.fail(error)
            raise
        self.pause.clear()
        return grant


class Callers:
    """The authenticators of the callers, in memory only: one for each token that a caller sends.

    Args:
        make: returns the authenticator of a caller with this token.
    """

    def __init__(self, make: Callable[[Secret], CallerAuthenticator]) -> None:
        self._make = make
        self._pause = Backoff(time.monotonic, is_shared=False)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, CallerAuthenticator] = OrderedDict()

    def of(self, identity: Identity) -> CallerAuthenticator:
        """Return the authenticator of a caller."""
        with self._lock:
            known = self._known.get(identity.id)
            if known is None:
                known = self._known[identity.id] = self._make(identity.token)
                known.pause = self._pause
                while len(self._known) > MAX_CALLERS:
                    self._known.popitem(last=False)
            self._known.move_to_end(identity.id)
            return known


@contextmanager
def _refused_as_caller_error() -> Iterator[None]:
    """Tell the caller that the identity provider refuses their token."""
    try:
        yield
    except AuthenticationError as error:
        if error.status not in _REFUSES_THE_CALLER:
            raise
        raise KeyRefusedError(
            "the identity provider does not accept your token (it may have expired): send a new "
            "one as `Authorization: Bearer …`",
            retry_after=error.retry_after,
        ) from error
