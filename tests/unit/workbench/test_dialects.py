"""docs/dialects.md says what the formats do."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.program import load

dialects = load("packaging/dialects.py")
EXAMPLES, FORMATS, outcome = dialects.EXAMPLES, dialects.FORMATS, dialects.outcome
PAGE = Path(__file__).parents[3] / "docs" / "dialects.md"


def test_the_page_is_current() -> None:
    """The page is what the code makes of the examples now."""
    assert PAGE.read_text("utf-8") == dialects.page(), "run `make reference`"


@pytest.mark.parametrize("dialect", FORMATS)
def test_one_dialect_keeps_everything(dialect: str) -> None:
    """With the same dialect on both ends nothing is dropped, refused or translated."""
    for name, examples in EXAMPLES.items():
        if dialect in examples:
            assert outcome(dialect, dialect, examples[dialect]) == "unchanged", name


@pytest.mark.parametrize(
    ("name", "client", "service", "expected"),
    [
        ("reasoning effort", "openai", "anthropic", "translated"),
        ("reasoning effort", "anthropic", "openai", "translated"),
        ("documents (PDF)", "openai", "anthropic", "translated"),
        ("documents (PDF)", "anthropic", "openai", "translated"),
        ("a failed tool call", "anthropic", "openai", "translated"),
        ("cache markers", "openai", "anthropic", "translated"),
        ("cache markers", "anthropic", "openai", "dropped: `content.cache_control`"),
        ("penalties", "openai", "anthropic", "refused: `presence_penalty`"),
        ("web search in the answer", "openai", "anthropic", "refused: `web_search_options`"),
        ("log probabilities", "openai", "anthropic", "refused: `logprobs`"),
        ("unknown fields", "openai", "ollama", "dropped: `new_member`"),
        (
            "a tool run by the service",
            "anthropic",
            "openai",
            "dropped: `tools.web_search_20250305`",
        ),
    ],
)
def test_what_becomes_of_a_member(name: str, client: str, service: str, expected: str) -> None:
    """What can be said in the other dialect is; the rest is named, or refused by name."""
    assert outcome(client, service, EXAMPLES[name][client]) == expected
