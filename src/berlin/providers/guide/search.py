"""Finds the sections of the manual that answer a question, if any."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from functools import cache

import msgspec

from berlin.providers.guide.sections import Section, load_sections
from berlin.providers.guide.words import LITTLE, STOP_WORDS, canonical, stem, stems, terms, words

TITLE_WEIGHT = 3.0
CODE_WEIGHT = 0.25
CORRECTED_WEIGHT = 0.85
LITTLE_WEIGHT = 0.3
# A title that is a question was written for newcomers; the rest is reference.
QUESTION_WEIGHT = 1.5
# The share of a question that a section must cover, by weight of its words: more if there
# are words that are nowhere in the manual.
ENOUGH = 0.42
ENOUGH_BESIDE_UNKNOWN = 0.55
IN_TITLE = 0.2
# The weight of a word in code relative to one in prose.
CODE_COUNTS = 0.8
SHOWN = 3


class Found(msgspec.Struct, frozen=True):
    """The result of a search.

    Attributes:
        sections: the best matches, best first.
        answers: whether the first of them is an answer, not just a near match.
        unknown: the words of the question that are in no section.
    """

    sections: tuple[Section, ...] = ()
    answers: bool = False
    unknown: tuple[str, ...] = ()


class _Indexed:
    """The stems of one section, by where they occur."""

    def __init__(self, section: Section) -> None:
        prose = re.sub(r"```.*?```", " ", section.body, flags=re.DOTALL)
        code = " ".join(re.findall(r"```.*?```|`[^`]+`", section.body, flags=re.DOTALL))
        code = re.sub(r'"[^"\n]*"', " ", code)  # example prompts may be about anything
        self.section = section
        heading = [word for word in words(section.title) if word not in STOP_WORDS]
        named = {canonical(word) for word in heading}
        self.title = frozenset({*stems(section.title), *named})
        self.body = frozenset(stems(prose))
        self.code = frozenset(stems(code))
        self.title_size = max(len(named - LITTLE), 1)

    def weight(self, meant: frozenset[str]) -> float:
        """Return how relevant a section is for any of these stems."""
        if meant & self.title:
            return TITLE_WEIGHT
        if meant & self.body:
            return 1.0
        return CODE_WEIGHT if meant & self.code else 0.0

    def coverage(self, meant: frozenset[str]) -> float:
        """Return how certain it is that a section covers any of these stems, from 0 to 1."""
        if meant & (self.title | self.body):
            return 1.0
        return CODE_COUNTS if meant & self.code else 0.0


class _Term(msgspec.Struct, frozen=True):
    """A word of a question: its possible stems and its weight."""

    word: str
    meant: frozenset[str]
    rarity: float
    trust: float = 1.0


class Manual:
    """All sections in one language.

    Args:
        sections: the sections.
    """

    def __init__(self, sections: list[Section]) -> None:
        self._indexed = [_Indexed(section) for section in sections]
        self._count: Counter[str] = Counter()
        for one in self._indexed:
            self._count.update(one.title | one.body | one.code)
        self._named = {tuple(words(s.title)): s for s in reversed(sections)}
        self._all = len(sections)

    @property
    def questions(self) -> list[str]:
        """The titles that are questions, those of the page of questions first."""
        sections = sorted((one.section for one in self._indexed), key=lambda s: "faq" not in s.page)
        return [section.title for section in sections if section.title.endswith("?")]

    def search(self, question: str) -> Found:
        """Return the sections that match a question best."""
        asked = [self._term(word, meant) for word, meant in terms(question)]
        named = self._named.get(tuple(words(question)))
        if not asked:
            return Found((named,), True) if named is not None else Found()
        scored = sorted(
            ((self._score(one, asked), one) for one in self._indexed), key=lambda pair: -pair[0]
        )
        best = [one for score, one in scored if score > 0][:SHOWN]
        unknown = tuple(term.word for term in asked if term.trust == 0)
        if named is not None:
            rest = [one.section for one in best if one.section is not named]
            return Found((named, *rest)[:SHOWN], True)
        sections = tuple(one.section for one in best)
        return Found(sections, bool(best) and self._is_answer(best[0], asked), unknown)

    def _term(self, word: str, meant: frozenset[str]) -> _Term:
        known = frozenset(stem for stem in meant if stem in self._count)
        if known:
            little = LITTLE_WEIGHT if meant <= LITTLE else 1.0
            return _Term(word, known, self._rarity(known) * little)
        near = self._correct(word)
        if near is not None:
            corrected = frozenset({near, *(s for _, m in terms(near) for s in m)})
            return _Term(word, corrected, self._rarity(corrected), CORRECTED_WEIGHT)
        little = LITTLE_WEIGHT if meant & LITTLE else 1.0
        return _Term(word, meant, self._rarity(meant) * little, 0.0)

    def _rarity(self, meant: frozenset[str]) -> float:
        return math.log(1 + self._all / (2.0 + max(self._count[stem] for stem in meant)))

    def _correct(self, word: str) -> str | None:
        """Return the probable stem of a mistyped word."""
        begun = stem(word)
        if len(begun) < 4 or not begun.isalpha():
            return None
        alike = [
            known
            for known in self._count
            if known[0] == begun[0] and abs(len(known) - len(begun)) <= 2 and len(known) > 3
        ]
        near = difflib.get_close_matches(begun, alike, n=1, cutoff=0.79)
        return near[0] if near else None

    def _score(self, one: _Indexed, asked: list[_Term]) -> float:
        score = sum(term.rarity * term.trust * one.weight(term.meant) for term in asked)
        in_title = sum(1 for term in asked if term.meant & one.title and term.trust)
        # A short title with just these words matches better than a long one that contains them.
        score *= 1 + 0.5 * in_title / one.title_size
        return score * (QUESTION_WEIGHT if one.section.title.endswith("?") else 1.0)

    def _is_answer(self, one: _Indexed, asked: list[_Term]) -> bool:
        whole = sum(term.rarity for term in asked)
        there = sum(t.rarity * t.trust * one.coverage(t.meant) for t in asked)
        named = sum(t.rarity * t.trust for t in asked if t.meant & one.title)
        unknown = any(t.trust == 0 and not t.meant & LITTLE for t in asked)
        enough = ENOUGH_BESIDE_UNKNOWN if unknown else ENOUGH
        return there >= enough * whole and named >= IN_TITLE * whole


@cache
def manual(russian: bool) -> Manual:
    """Return the manual in one of its languages."""
    return Manual([s for s in load_sections() if s.is_russian == russian])
