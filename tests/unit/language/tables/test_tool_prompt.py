"""The table `[tool_prompt]`: regular expressions that could take exponential time are refused."""

from __future__ import annotations

import pytest

from berlin.language.tables.tool_prompt import ToolPrompt


@pytest.mark.parametrize(
    "claim", ["(a+)+$", "(a|aa)+$", "(?:a*)*b", "((a)*)*", r"(\w+\s?)*$", "(x+x+)+y", "(?=(a+)+)"]
)
def test_D06_catastrophic_regex(claim: str) -> None:
    """What repeats a repetition, or alternatives, is refused when the recipe is read."""
    with pytest.raises(ValueError, match="may take exponential time"):
        ToolPrompt(claims=(claim,))


@pytest.mark.parametrize("claim", ["a+b+$", "(?:I will|let me)?[^.]*$", "(ab)+", "(?>a+|b)+x"])
def test_D06_regex_in_linear_time(claim: str) -> None:
    """Other regular expressions are taken."""
    assert ToolPrompt(claims=(claim,)).claims == (claim,)
