"""The four limits on time."""

from __future__ import annotations

import math

import msgspec
import pytest

from berlin import errors
from berlin.types import Timeouts


def test_the_defaults() -> None:
    """Nobody waits for ever who sets nothing."""
    assert Timeouts() == Timeouts(connect=5, first_event=60, idle=60, total=600)


SIGN = " must be a positive number of seconds, "
KIND = " must be a number of seconds$"


@pytest.mark.parametrize("name", ["connect", "first_event", "idle", "total"])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, -1, -0.0, math.inf, -math.inf, math.nan], SIGN),
        (["5", None, True, [5], b"5"], KIND),
    ],
    ids=["sign", "kind"],
)
def test_a_limit_is_a_positive_number(name: str, values: list[object], said: str) -> None:
    """Zero, less, infinity, NaN, text and nothing are no limits; the error names which."""
    for value in values:
        with pytest.raises(errors.InvalidRequestError, match=f"^timeout {name}{said}"):
            Timeouts(**{name: value})


def test_seconds_in_all_bound_every_limit() -> None:
    """A plain number bounds all four, but makes none longer that was shorter."""
    assert Timeouts.of(7, Timeouts()) == Timeouts(connect=5, first_event=7, idle=7, total=7)
    assert Timeouts.of(0.5, Timeouts()) == Timeouts(
        connect=0.5, first_event=0.5, idle=0.5, total=0.5
    )


def test_some_limits_of_a_mapping() -> None:
    """A mapping changes what it names and leaves the rest as it was."""
    mine = Timeouts(connect=1, idle=2)
    assert Timeouts.of({"total": 9}, mine) == Timeouts(connect=1, idle=2, total=9)
    assert Timeouts.of({}, mine) == mine


def test_limits_that_are_ready_or_not_given() -> None:
    """`Timeouts` are taken as they are; `None` is the default."""
    mine, other = Timeouts(total=1), Timeouts(total=2)
    assert Timeouts.of(mine, other) is mine
    assert Timeouts.of(None, other) is other


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([True, False, "5", [5], object(), b"5"], "^timeout must be a number of seconds or a Tim"),
        ([{"totl": 5}, {"total": -1}, {"total": "5"}, {5: 5}], "^timeout"),
        ([0, -1, math.inf, math.nan], "must be a positive number of seconds"),
    ],
    ids=["kind", "mapping", "seconds"],
)
def test_what_is_no_timeout(values: list[object], said: str) -> None:
    """Anything else, an unknown name or a bad value is refused as an error of the request."""
    for value in values:
        with pytest.raises(errors.InvalidRequestError, match=said):
            Timeouts.of(value, Timeouts())


def test_limits_of_a_file() -> None:
    """In a configuration, a wrong value or name is found where the file is read."""
    assert msgspec.convert({"total": 5}, Timeouts) == Timeouts(total=5.0)
    for wrong in ({"total": -1}, {"total": "5"}, {"totl": 5}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Timeouts)
