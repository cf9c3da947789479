"""What is said while the answer's stream is open, and members that are encoded: mistakes."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from berlin import errors
from support.recipes import PLAIN_CHAT, recipe_of

POST = {"path": "/messages", "json": {"text": "{prompt}"}}
LISTENS: dict[str, Any] = {
    "path": "/listen",
    "method": "GET",
    "meanwhile": [POST],
    "stream": PLAIN_CHAT["stream"],
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"poll_s": 1}, "meanwhile: not with poll_s"),
        ({"socket": {}}, "meanwhile: not with poll_s or [chat.socket]"),
        ({"meanwhile": [{**POST, "take": {"x": "/x"}}]}, "takes values that nothing uses"),
        ({"meanwhile": [{**POST, "json": {"text": "{promt}"}}]}, "did you mean {prompt}?"),
        ({"meanwhile": [{**POST, "path": "evil.example.com"}]}, "must begin with a slash"),
        ({"format": "openai-chat", "stream": "always"}, "meanwhile: not with format"),
        ({"stream": {**PLAIN_CHAT["stream"], "decode": {"/*/a": "json"}}}, "names one member"),
        ({"stream": {**PLAIN_CHAT["stream"], "decode": {"a": "json"}}}, "not a JSON Pointer"),
        ({"stream": {**PLAIN_CHAT["stream"], "decode": {"/a": "rot13"}}}, "rot13"),
    ],
)
def test_d01_a_mistake(changes: dict[str, Any], said: str) -> None:
    """A mistake in the new keys is an error when the recipe is loaded, and says what is wrong."""
    with pytest.raises((errors.ConfigurationError, msgspec.ValidationError), match=re.escape(said)):
        recipe_of({**LISTENS, **changes}).format()


def test_the_question_may_be_there_alone() -> None:
    """The chat itself need not carry the prompt."""
    assert recipe_of(LISTENS).tools_mode == "emulate"
    recipe_of(LISTENS).format()
