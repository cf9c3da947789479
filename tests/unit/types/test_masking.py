"""Secrets that services write in their own way."""

from __future__ import annotations

import pytest

from berlin.types import Secret
from berlin.types.masking import mask


@pytest.mark.parametrize(
    "written",
    [
        'ab12CD" + "34-efGH',
        "AB12CD34-EFGH",
        "ab12.CD34\u200b-ef\n> GH",
        ":".join(f"{byte:02x}" for byte in b"ab12CD34-efGH"),
    ],
)
def test_a_secret_that_is_taken_apart(written: str) -> None:
    """By whatever characters, and in whatever case, letters and digits are what is compared."""
    assert mask(f"bad token {written} here", [Secret("ab12CD34-efGH")]) == "bad token *** here"
