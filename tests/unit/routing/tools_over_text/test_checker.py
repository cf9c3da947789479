"""What a model wrote, checked against a schema."""

from __future__ import annotations

import json
import sys

import pytest

from berlin.errors import ConfigurationError
from berlin.routing.tools_over_text.checker import MAX_MISTAKES, check_object

SCHEMA = json.dumps({"type": "object", "properties": {"n": {"type": "integer"}}})


def test_good_text_stays_as_it_is() -> None:
    """Numbers, order and blanks are those that were written."""
    assert check_object('{ "n": 1e2, "x": 1.10 }', SCHEMA).text == '{ "n": 1e2, "x": 1.10 }'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting value"),
        ("{", "line 1, column 2"),
        ("[]", "not a JSON object"),
        ('{"n": NaN}', "NaN is not JSON"),
        ('{"n": Infinity}', "Infinity is not JSON"),
        ('{"n": "\\ud800"}', "surrogate"),
        ('{"n": 1e999}', "JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"n": "x"}', 'n: "x" is not of type "integer"'),
        ("{'n': 1}", "property name"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    """The problem is one that a model can understand."""
    checked = check_object(text, SCHEMA)
    assert says in checked.problem


def test_not_all_mistakes_are_named() -> None:
    """The first few are enough to correct them, and each is cut."""
    names = [f"n{n}" for n in range(30)]
    checked = check_object("{}", json.dumps({"required": names}))
    assert checked.problem.count(";") == MAX_MISTAKES - 1
    long = check_object(json.dumps({"n": "x" * 9_000}), SCHEMA)
    assert len(long.problem) < 300


@pytest.mark.parametrize("schema", ["{", '{"type": "bogus"}', '{"$ref": "http://127.0.0.1:9/"}'])
def test_a_schema_that_cannot_be_used_checks_nothing(schema: str) -> None:
    """A broken schema, and one that would have to be fetched, let any object pass."""
    assert check_object('{"a": 1}', schema) == ('{"a": 1}', "")


def test_a_pattern_cannot_keep_it_busy() -> None:
    """A pattern that takes others exponential time is checked at once."""
    schema = json.dumps({"properties": {"a": {"pattern": "^(a+)+$"}}})
    assert "does not match" in check_object(json.dumps({"a": "a" * 40 + "!"}), schema).problem


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra is told its name, before anything is sent."""
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    with pytest.raises(ConfigurationError, match=r"berlin-llm\[tools\]"):
        check_object("{}", '{"$comment": "never seen before"}')
