"""Tools as a few lines of text: what is kept whole, and what is cut."""

from __future__ import annotations

import json

from berlin.routing.tools_over_text.describe import describe_tools, shorten
from berlin.routing.tools_over_text.signature import Signature
from berlin.types import Tool

LONG = "# Heading\n\nDoes a thing. Then another one, at length. " + "More of it. " * 400


def _tool(n: int) -> Tool:
    schema = {
        "type": "object",
        "properties": {
            f"needed_{n}": {"type": "string", "description": LONG},
            "mode": {"enum": ["fast", "slow", None, 3], "description": LONG},
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"id": {"type": "integer"}}},
            },
        },
        "required": [f"needed_{n}"],
    }
    return Tool(f"tool_{n}", LONG, json.dumps(schema))


def test_a_large_list_shrinks_and_loses_no_name() -> None:
    """From hundreds of KB to a few: names, required arguments and choices are all there."""
    tools = tuple(_tool(n) for n in range(24))
    assert sum(len(t.description + t.parameters) for t in tools) > 300_000
    text = describe_tools(tools, 8_000)
    assert len(text) <= 8_000
    for n in range(24):
        assert f'- tool_{n}(needed_{n}: string, mode?: "fast" | "slow" | null | 3, ' in text
    assert text.count("Does a thing.") == 24
    assert "Heading" not in text


def test_even_without_room_no_name_is_lost() -> None:
    """A limit that is too small costs the descriptions, and nothing else."""
    text = describe_tools((_tool(1),), 10)
    assert text.startswith("- tool_1(needed_1: string")
    assert "thing" not in text


def test_a_short_list_is_described_whole() -> None:
    """Where there is room, descriptions of tools and arguments are there."""
    text = describe_tools(
        (
            Tool(
                "a",
                "Does it.",
                json.dumps({"properties": {"b": {"type": "boolean", "description": "Whether."}}}),
            ),
        ),
        8_000,
    )
    assert text == "- a(b?: boolean): Does it.\n    b: Whether."


def test_a_tool_with_a_broken_schema_is_still_named() -> None:
    """What cannot be read has no arguments; the tool itself stays."""
    assert describe_tools((Tool("a", "", "{"), Tool("b", "", "[]")), 100) == "- a()\n- b()"


def test_types() -> None:
    """References, unions, maps, constants and nested objects are written in short."""
    schema = {
        "$defs": {
            "point": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]},
            "loop": {"$ref": "#/$defs/loop"},
        },
        "allOf": [{"properties": {"more": {"type": "string"}}, "required": ["more"]}],
        "properties": {
            "at": {"$ref": "#/$defs/point"},
            "either": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "both": {"type": ["string", "null"]},
            "kinds": {"type": "array", "items": {"enum": ["a", "b"]}},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "one": {"const": 1},
            "free": {},
            "loop": {"$ref": "#/$defs/loop"},
            "elsewhere": {"$ref": "https://example.com/schema"},
        },
        "required": ["at", "unknown"],
    }
    assert list(map(str, Signature(schema).members())) == [
        "at: {x: number}",
        "either?: string | null",
        "both?: string | null",
        'kinds?: ("a" | "b")[]',
        "map?: {[name]: integer}",
        "one?: 1",
        "free?: any",
        "loop?: any",
        "elsewhere?: any",
        "unknown: any",
        "more: string",
    ]


def test_shorten() -> None:
    """Whole sentences as far as they fit, else words, never more than the limit."""
    assert shorten("One. Two. Three.", 9) == "One. Two."
    assert shorten("A sentence without end", 12) == "A sentence…"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"
    assert shorten("anything", 0) == ""
