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


@pytest.mark.parametrize("name", ["connect", "first_event", "idle", "total"])
@pytest.mark.parametrize("value", [0, -1, -0.0, math.inf, -math.inf, math.nan])
def test_a_limit_is_a_positive_number(name: str, value: float) -> None:
    """Zero, less, infinity and NaN are no limits; the error names which."""
    with pytest.raises(
        errors.InvalidRequestError, match=rf"^timeout {name} must be a positive number of seconds, "
    ):
        Timeouts(**{name: value})


@pytest.mark.parametrize("name", ["connect", "first_event", "idle", "total"])
@pytest.mark.parametrize("value", ["5", None, True, [5], b"5"])
def test_a_limit_is_a_number(name: str, value: object) -> None:
    """Text, booleans and nothing are no numbers."""
    with pytest.raises(
        errors.InvalidRequestError, match=rf"^timeout {name} must be a number of seconds$"
    ):
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


@pytest.mark.parametrize("value", [True, False, "5", [5], object(), b"5"])
def test_what_is_no_timeout(value: object) -> None:
    """Anything else is refused."""
    with pytest.raises(
        errors.InvalidRequestError, match=r"^timeout must be a number of seconds or a Timeouts$"
    ):
        Timeouts.of(value, Timeouts())


@pytest.mark.parametrize("value", [{"totl": 5}, {"total": -1}, {"total": "5"}, {5: 5}])
def test_a_mapping_that_is_wrong(value: object) -> None:
    """An unknown name or a bad value in a mapping is an error of the request."""
    with pytest.raises(errors.InvalidRequestError, match=r"^timeout"):
        Timeouts.of(value, Timeouts())


@pytest.mark.parametrize("value", [0, -1, math.inf, math.nan])
def test_seconds_in_all_that_are_no_limit(value: float) -> None:
    """A plain number has to be a limit too."""
    with pytest.raises(errors.InvalidRequestError, match="must be a positive number of seconds"):
        Timeouts.of(value, Timeouts())


def test_limits_of_a_file() -> None:
    """In a configuration, a wrong value or name is found where the file is read."""
    assert msgspec.convert({"total": 5}, Timeouts) == Timeouts(total=5.0)
    for wrong in ({"total": -1}, {"total": "5"}, {"totl": 5}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, Timeouts)
