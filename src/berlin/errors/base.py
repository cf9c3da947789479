"""The base of all errors, and what it remembers of failed attempts."""

from __future__ import annotations

import copy
import re
from typing import ClassVar, NamedTuple, Self


class FailedAttempt(NamedTuple):
    """One attempt at an answer that failed, for logs and spans; it contains no message text.

    Attributes:
        provider: name of the provider.
        model: the requested model.
        code: the code of the error.
        began_at: when it started, in seconds on the monotonic clock.
        seconds: how long it took to fail.
        sent: whether a request left this process at all.
    """

    provider: str
    model: str
    code: str
    began_at: float
    seconds: float
    sent: bool = True


MAX_MESSAGE_CHARS = 4000
MAX_WORD_CHARS = 500
"""Of a message: names and values that it quotes are shown in part if they are longer."""

_LONG_WORD = re.compile(rf"(\S{{{MAX_WORD_CHARS - 100}}})\S{{100,}}")


def bounded(message: str) -> str:
    """Return a message that quotes nothing in full that is very long."""
    cut = _LONG_WORD.sub(r"\1…", message)
    return cut if len(cut) <= MAX_MESSAGE_CHARS else f"{cut[: MAX_MESSAGE_CHARS - 1]}…"


class BerlinError(RuntimeError):
    """The base of all errors of Berlin.

    Args:
        message: what went wrong and what to do next; never contains a secret.
        provider: name of the provider.
        model: name of the requested model.
        status: HTTP status of the service's response, if there was one.
        retry_after: seconds to wait before trying again, if the service said so.
        request_id: the service's own id of the request.

    Attributes:
        failed: all attempts including this one, if there was more than one.
        causes: the errors of all providers that were tried, if there was more than one.
        private: whether the message is for the operator only, because it reveals internals: an
            address, a login, or arbitrary bytes. Clients of a gateway see only its class.
        names: what clients of a gateway must not see of the message: the service's host, and the
            account.
    """

    retryable: ClassVar[bool] = False
    fallback: ClassVar[bool] = False
    blames_service: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    failed: tuple[FailedAttempt, ...] = ()
    causes: tuple[BerlinError, ...] = ()
    names: tuple[str, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message if len(message) <= MAX_WORD_CHARS else bounded(message))
        self.provider = provider
        self.model = model
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.private = False

    @property
    def message(self) -> str:
        """The text of the error."""
        return str(self.args[0])

    def without_frames(self) -> Self:
        """Return this error without the frames of it and its causes, which may contain secrets."""
        link: BaseException | None = self
        while link is not None:
            link.__traceback__ = None
            if link.__cause__ is None and not link.__suppress_context__:
                link.__cause__ = link.__context__
            link.__context__ = None
            link = link.__cause__
        return self

    def again(self) -> Self:
        """Return a copy to raise, chained to this one.

        One failed login is reported to every request that waited for it; an exception raised in
        many tasks at once would accumulate all their tracebacks.
        """
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        twin.__traceback__ = None
        return twin
