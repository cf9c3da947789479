"""Whatever a service sends, it can be looked at."""

from __future__ import annotations

import json
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import load_recipe
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.framings import FramingName, recognise
from berlin.workbench.diagnose_answer import fits, outline, reason_pointers, text_pointers
from berlin.workbench.parts import documents, parts_of
from berlin.workbench.trial import TriedTurn
from berlin.workbench.trial_report import describe_turn

BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='{}[]",:\\ndata \r\x00é', max_size=80).map(str.encode),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    ).map(lambda value: json.dumps(value).encode()),
)


@given(BODIES)
def test_any_body_can_be_looked_at(body: bytes) -> None:
    """No body makes the diagnosis fail."""
    looks = recognise(body)
    for framing in get_args(FramingName):
        stream = StreamMap(framing, text="/a")
        fits(stream, looks, body)
        found = documents(stream, body)
        text_pointers(found)
        reason_pointers(found)
        for document in found:
            outline(document)


def test_a_nested_answer_is_shown() -> None:
    """An answer that is nested deep is shown, and its beginning is enough."""
    body = b'{"content":' + b"[" * 400 + b"]" * 400 + b"}"
    recipe = load_recipe("berlin")
    part = parts_of(recipe)[-1]
    turn = TriedTurn(part, HttpRequest("POST", "/x"), HttpResponse(200, {}, {}, body), {}, 0.0)
    assert "object 1 of 1" in describe_turn(turn, recipe, "http://x", [Secret("secret")])


def test_text_is_what_differs() -> None:
    """Ids and names of models stay the same from object to object; text does not."""
    received = [{"id": "a1", "model": "swift", "v": piece} for piece in ("Hel", "lo")]
    assert text_pointers(received) == ["/v"]


def test_pointers_of_odd_names() -> None:
    """Slashes and tildes in names are written as pointers have them."""
    assert outline({"a/b": {"c~d": 1}}) == "/a~1b/c~0d"
