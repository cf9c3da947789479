"""A small backtracking matcher over Python's own parse of an expression, which counts its steps.

It walks as `re` does: greedy and lazy repetitions, alternatives in order, groups, look-arounds,
atomic groups and possessive repetitions. What does not change how far it walks, such as what a
back reference holds, is taken as matched.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from re import _constants as codes
from re import _parser as parser
from typing import Any

MAX_STEPS = 400_000
UNBOUNDED = 16


class TooManySteps(Exception):
    """The matcher gave up."""


def parse(pattern: re.Pattern[Any]) -> Any:
    """Return Python's parse of an expression."""
    return parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)


def count_steps(pattern: re.Pattern[Any], text: str) -> int:
    """Return the steps of one match from the beginning of a text, `MAX_STEPS` at most."""
    walk = _Walk(text, pattern.flags)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        next(walk.sequence(list(parse(pattern)), 0), None)
    except TooManySteps:
        pass
    finally:
        sys.setrecursionlimit(limit)
    return walk.steps


def letters_of(pattern: re.Pattern[Any]) -> list[str]:
    """Return letters that an expression tells apart, and one that it may not know."""
    found = {"x", "0", "\x01"}
    for op, argument in _all(list(parse(pattern))):
        if op in (codes.LITERAL, codes.NOT_LITERAL):
            found.add(chr(argument))
        elif op is codes.RANGE:
            found |= {chr(argument[0]), chr(argument[1])}
        elif op is codes.CATEGORY:
            found |= {" ", "\n"} if "SPACE" in str(argument) else {"7", "a"}
    return sorted(found)


def nested_quantifiers(pattern: re.Pattern[Any]) -> list[str]:
    """Return the unbounded repetitions of unbounded repetitions that begin with the same letter.

    `([^"]|\\\\.)*` repeats one letter at a time and is fine; `(a+)*` is not.
    """
    found: list[str] = []

    def look(items: list[Any], inside: bool) -> None:
        for op, argument in items:
            if op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
                low, high, body = argument
                unbounded = high >= UNBOUNDED and high != low
                bare = len(body) == 1 and body[0][0] in (codes.MAX_REPEAT, codes.MIN_REPEAT)
                only = _only_repeats(list(body))
                if unbounded and (bare or only):
                    found.append(f"{pattern.pattern!r}: a repetition of {body}")
                look(list(body), inside or unbounded)
            else:
                for below in _below(op, argument):
                    look(below, inside)

    look(list(parse(pattern)), False)
    return found


def repeats(pattern: re.Pattern[Any]) -> bool:
    """Whether any part of an expression may be repeated without a bound."""

    repetitions = (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT)
    return any(op in repetitions and arg[1] >= UNBOUNDED for op, arg in _all(list(parse(pattern))))


def _only_repeats(body: list[Any]) -> bool:
    """Whether a body is made of unbounded repetitions alone, so that it can be cut anywhere."""
    flat = []
    for op, argument in body:
        if op is codes.SUBPATTERN:
            flat += list(argument[-1])
        else:
            flat.append((op, argument))
    kinds = (codes.MAX_REPEAT, codes.MIN_REPEAT)
    return bool(flat) and all(op in kinds and arg[1] >= UNBOUNDED for op, arg in flat)


def _below(op: Any, argument: Any) -> Iterator[list[Any]]:
    if op is codes.SUBPATTERN:
        yield list(argument[-1])
    elif op is codes.BRANCH:
        yield from (list(branch) for branch in argument[1])
    elif op in (codes.ASSERT, codes.ASSERT_NOT):
        yield list(argument[1])
    elif op is codes.ATOMIC_GROUP:
        yield list(argument)
    elif op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        yield list(argument[2])


def _all(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for op, argument in items:
        yield op, argument
        if op is codes.IN:
            yield from _all(argument)
        for below in _below(op, argument):
            yield from _all(below)


class _Walk:
    """One match of one text."""

    def __init__(self, text: str, flags: int) -> None:
        self.text = text
        self.steps = 0
        self._flags = flags

    def step(self) -> None:
        self.steps += 1
        if self.steps >= MAX_STEPS:
            raise TooManySteps

    def sequence(self, items: list[Any], at: int) -> Iterator[int]:
        """Give every place where a match of some items may end, in the order of `re`."""
        stack = [(0, self._ends(items, 0, at))] if items else []
        if not items:
            yield at
            return
        while stack:
            n, ends = stack[-1]
            end = next(ends, None)
            if end is None:
                stack.pop()
            elif n + 1 == len(items):
                yield end
            else:
                stack.append((n + 1, self._ends(items, n + 1, end)))

    def _ends(self, items: list[Any], n: int, at: int) -> Iterator[int]:
        op, argument = items[n]
        self.step()
        if op in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            return self._repeat(argument, at, greedy=op is codes.MAX_REPEAT)
        if op is codes.POSSESSIVE_REPEAT:
            return self._first(self._repeat(argument, at, greedy=True))
        if op is codes.ATOMIC_GROUP:
            return self._first(self.sequence(list(argument), at))
        if op is codes.SUBPATTERN:
            return self.sequence(list(argument[-1]), at)
        if op is codes.BRANCH:
            return self._branches(argument[1], at)
        if op in (codes.ASSERT, codes.ASSERT_NOT):
            return self._assert(op, argument, at)
        if op in (codes.AT, codes.GROUPREF):
            return iter([at] if self._holds(argument, at) else [])
        fits = at < len(self.text) and self._fits(op, argument, self.text[at])
        return iter([at + 1] if fits else [])

    @staticmethod
    def _first(ends: Iterator[int]) -> Iterator[int]:
        end = next(ends, None)
        return iter([] if end is None else [end])

    def _branches(self, branches: list[Any], at: int) -> Iterator[int]:
        for branch in branches:
            yield from self.sequence(list(branch), at)

    def _assert(self, op: Any, argument: Any, at: int) -> Iterator[int]:
        direction, body = argument
        if direction < 0:  # of fixed width: a few steps at most
            self.step()
            return iter([at])
        found = next(self.sequence(list(body), at), None) is not None
        return iter([at] if found is (op is codes.ASSERT) else [])

    def _repeat(self, argument: Any, at: int, *, greedy: bool, count: int = 0) -> Iterator[int]:
        low, high, body = argument
        self.step()
        if not greedy and count >= low:
            yield at
        if count < high:
            for end in self.sequence(list(body), at):
                if end > at or count < low:
                    yield from self._repeat(argument, end, greedy=greedy, count=count + 1)
        if greedy and count >= low:
            yield at

    def _holds(self, argument: Any, at: int) -> bool:
        match argument:
            case codes.AT_BEGINNING | codes.AT_BEGINNING_STRING:
                multiline = self._flags & re.MULTILINE and at and self.text[at - 1] == "\n"
                return at == 0 or bool(multiline)
            case codes.AT_END | codes.AT_END_STRING:
                return at == len(self.text)
            case codes.AT_BOUNDARY | codes.AT_NON_BOUNDARY:
                word = [0 <= n < len(self.text) and _is_word(self.text[n]) for n in (at - 1, at)]
                return (word[0] != word[1]) is (argument is codes.AT_BOUNDARY)
        return True

    def _fits(self, op: Any, argument: Any, letter: str) -> bool:
        same = str.lower if self._flags & re.IGNORECASE else str
        match op:
            case codes.LITERAL:
                return same(letter) == same(chr(argument))
            case codes.NOT_LITERAL:
                return same(letter) != same(chr(argument))
            case codes.ANY:
                return bool(self._flags & re.DOTALL) or letter != "\n"
            case codes.IN:
                return self._in(argument, letter)
            case codes.CATEGORY:
                return _CATEGORIES[str(argument)](letter)
            case codes.RANGE:
                low, high = argument
                return any(low <= ord(c) <= high for c in {letter, letter.lower(), letter.upper()})
        return True

    def _in(self, members: list[Any], letter: str) -> bool:
        negated = bool(members) and members[0][0] is codes.NEGATE
        rest = members[1:] if negated else members
        return any(self._fits(op, argument, letter) for op, argument in rest) is not negated


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_NOT_DIGIT": lambda c: not c.isdigit(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda c: not c.isspace(),
    "CATEGORY_WORD": _is_word,
    "CATEGORY_NOT_WORD": lambda c: not _is_word(c),
}
