"""Notices that a file has changed which the gateway reads, and that it cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable

from berlin.errors import ConfigurationError

CHECK_EVERY_S = 0.25
# How long what was read stays valid when the file cannot be read.
TRUSTED_FOR_S = 5.0

_log = logging.getLogger("berlin.gateway")


class Fresh:
    """Reads something again when it is used, at most every `CHECK_EVERY_S`.

    When it cannot be read, what is known stays valid for `TRUSTED_FOR_S` after the last success,
    and then nobody is let in until it can. The error is logged once.

    Args:
        what: what is read, such as `keys`, for the log.
        read: reads it, if it has changed. Raises ConfigurationError.
        forget: forgets what is known.
        monotonic: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        what: str,
        read: Callable[[], None],
        forget: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._what, self._read, self._forget = what, read, forget
        self._monotonic = monotonic
        self._checked_at = self._good_at = monotonic()
        self._failing = False

    @property
    def is_trusted(self) -> bool:
        """Whether it can be read, or could a moment ago."""
        self.check()
        return self._monotonic() - self._good_at <= TRUSTED_FOR_S

    def check(self) -> None:
        """Read it again if that is due."""
        now = self._monotonic()
        if now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        try:
            self._read()
        except ConfigurationError as error:
            if now - self._good_at > TRUSTED_FOR_S:
                self._forget()
            if not self._failing:
                _log.error("%s.unreadable error=%s", self._what, error.message)
            self._failing = True
            return
        if self._failing:
            _log.warning("%s.readable", self._what)
        self._failing, self._good_at = False, now
