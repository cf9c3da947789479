"""Token counts of an answer."""

from __future__ import annotations

import pytest

from berlin.types import Usage, UsageReport


def test_what_is_not_said_is_nothing() -> None:
    """Counts begin at zero and are the service's own unless they say otherwise."""
    assert Usage() == Usage(input_tokens=0, output_tokens=0, estimated=False)


def test_a_guess_is_another_value_than_a_count() -> None:
    """An estimated usage is never equal to a counted one."""
    assert Usage(1, 2) != Usage(1, 2, estimated=True)
    assert UsageReport(Usage(1, 2)) == UsageReport(Usage(1, 2))


def test_it_does_not_change() -> None:
    """It is frozen, so it can be shared."""
    with pytest.raises(AttributeError):
        Usage().input_tokens = 5
    assert len({Usage(1, 2), Usage(1, 2), Usage(2, 1)}) == 2
