"""The four limits on the time that a request may take."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from berlin.errors import InvalidRequestError

CONNECT_TIMEOUT_S = 5.0


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits in seconds, measured on the monotonic clock.

    Attributes:
        connect: name look-up, TCP, TLS and the proxy's answer.
        first_event: from the request until the first event of the answer; also the limit of each
            step of a login.
        idle: between two events. Blank keep-alive lines do not count as progress; the time that the
            consumer takes for a piece does not count.
        total: the whole request, with its login and its retries.
    """

    connect: float = CONNECT_TIMEOUT_S
    first_event: float = 60.0
    idle: float = 60.0
    total: float = 600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidRequestError(f"timeout {name} must be a number of seconds")
            if not (value > 0 and math.isfinite(value)):
                raise InvalidRequestError(
                    f"timeout {name} must be a positive number of seconds, not {value}"
                )

    @classmethod
    def of(cls, value: object, default: Timeouts) -> Timeouts:
        """Return a caller's limits: `Timeouts`, a mapping, or seconds in total.

        A plain number bounds every limit, so that nothing takes longer.

        Raises:
            InvalidRequestError: for anything else.
        """
        match value:
            case None:
                return default
            case Timeouts():
                return value
            case bool():
                pass
            case int() | float():
                seconds = _seconds(value)
                return cls(
                    connect=min(seconds, default.connect),
                    first_event=seconds,
                    idle=seconds,
                    total=seconds,
                )
            case Mapping():
                try:
                    return msgspec.structs.replace(default, **value)
                except TypeError as error:
                    raise InvalidRequestError(f"timeout: {error}") from error
        raise InvalidRequestError("timeout must be a number of seconds or a Timeouts")


def _seconds(value: float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidRequestError("timeout is too large a number") from error
