"""Members of one dialect that arrive in pieces."""

from __future__ import annotations

from typing import Any

import pytest

from berlin.types import Extra, merge_extra


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([{"a": "x"}, {"a": "y", "b": 1}, {"a": "z", "b": None}], {"a": "xyz", "b": 1}),
        ([{"id": "1", "type": "t"}, {"id": "1", "type": "t"}], {"id": "1", "type": "t"}),
        ([{"a": [1]}, {"a": [2, 2]}, {"a": []}], {"a": [1, 2, 2]}),
        ([{"a": {"b": "x"}}, {"a": {"b": "y"}}], {"a": {"b": "xy"}}),
        ([{"a": "x"}, {"a": 1}, {"a": [2]}, {"a": [3]}], {"a": [2, 3]}),
        (
            [{"d": [{"index": 0, "text": "x"}]}, {"d": [{"index": 1}, {"index": 0, "text": "y"}]}],
            {"d": [{"index": 0, "text": "xy"}, {"index": 1}]},
        ),
        (
            [{"d": [{"index": 0}, {"index": 0}]}, {"d": [{"index": 0, "a": 1}, {"index": []}]}],
            {"d": [{"index": 0, "a": 1}, {"index": 0}, {"index": []}]},
        ),
    ],
)
def test_pieces_are_merged_at_once_or_one_by_one(
    pieces: list[dict[str, Any]], whole: dict[str, Any]
) -> None:
    """The result does not depend on how often the pieces are merged."""
    extras = [Extra("x", piece) for piece in pieces]
    merged = None
    for extra in extras:
        merged = merge_extra(merged, extra)
    assert merge_extra(*extras) == merged == Extra("x", whole)


def test_nothing_and_other_dialects() -> None:
    """Nothing is nothing, and a piece of another dialect replaces those before it."""
    a, b = Extra("a", {"n": "1"}), Extra("b", {"n": "2"})
    assert merge_extra() is None
    assert merge_extra(None, a, None) is a
    assert merge_extra(a, a, b, b) == Extra("b", {"n": "22"})


def test_many_pieces_are_merged_in_proportion_to_them() -> None:
    """A service may send 50,000 pieces of a list, of text and of items: each is read once."""
    extras = [Extra("x", {"l": [n], "t": "y", "d": [{"index": n % 9999}]}) for n in range(50_000)]
    merged = merge_extra(*extras)
    assert merged is not None
    assert [len(merged.members[name]) for name in "ltd"] == [50_000, 50_000, 9999]
