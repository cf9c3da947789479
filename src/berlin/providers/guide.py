"""Answers questions about Berlin from its own manual, without any network.

Full-text search (SQLite FTS5, in memory) finds the sections that fit best; they are streamed as
they stand, with their titles as sources. Nothing is made up, because nothing is generated.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import weakref
from collections.abc import AsyncGenerator
from functools import cache
from importlib import resources
from pathlib import Path

import msgspec

from berlin.providers.contract import Burst
from berlin.providers.facade import ChatProvider
from berlin.types import ChatRequest, Finished, TextDelta

TITLE_WEIGHT = 6.0
# Sections that are questions were written for newcomers; the rest is for looking things up.
QUESTION_WEIGHT = 1.25

# Words that say nothing about the topic, in the languages of the manual.
_SAY_NOTHING = """
    a about all am an and any are as at be berlin by can could do does for from get give had has
    have hello hey hi how i in into is it its let make me my need of on one or own please should so
    some tell that the them then there this to use used using want was we what when where which who
    why will with work works would you your
    а берлин бы в вас во вы где для до его есть же за и из или как какая какие какой когда кто ли
    мне можно мой моя на надо не нужно о об он она они от по пожалуйста привет при с свой свою
    скажи со такое то ты у что чтобы это этот я
"""
_STOP_WORDS = frozenset(_SAY_NOTHING.split())

# What people say for what the manual says.
_SAME = {
    "endpoint": "service",
    "provider": "service",
    "backend": "service",
    "chatbot": "service",
    "signin": "login",
    "sign": "login",
    "log": "login",
    "credentials": "password",
    "fail": "errors",
    "fails": "errors",
    "failed": "errors",
    "failure": "errors",
    "exception": "errors",
    "exceptions": "errors",
    "wrong": "errors",
    "server": "serve",
    "installation": "install",
    "setup": "install",
    "shell": "terminal",
    "cli": "terminal",
    "notebook": "loop",
    "jupyter": "loop",
    "synchronous": "loop",
    "sync": "loop",
    "fast": "speed",
    "performance": "speed",
    "licence": "license",
    "питон": "python",
    "питона": "python",
    "питоне": "python",
    "питоном": "python",
}


# A question without any other word: what Berlin is at all.
_ASKS_WHAT = re.compile(r"\b(what|who|что|кто)\b", re.IGNORECASE)


class Section(msgspec.Struct, frozen=True):
    """A section of the manual."""

    page: str
    title: str
    body: str


class GuideProvider(ChatProvider):
    """The built-in guide."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream the sections that fit the last message of the user."""
        question = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
        for piece in re.findall(r"\S+\s*|\s+", answer(question)):
            yield [TextDelta(piece)]
        yield [Finished()]


def answer(question: str) -> str:
    """Return the manual's answer to a question, as Markdown."""
    question = _last_question(question)
    russian = bool(re.search("[а-яё]", question, re.IGNORECASE))
    if not _terms(question) and _ASKS_WHAT.search(question):
        question = "что такое berlin" if russian else "what is berlin"
    found = _manual().search(question, russian)
    if not found:
        return _manual().introduction(russian)
    best, *others = found
    more = "".join(f"\n- {s.title} ({s.page})" for s in others)
    see, source = ("Смотрите также:", "Источник") if russian else ("See also:", "Source")
    also = f"\n\n{see}\n{more}" if others else ""
    return f"**{best.title}**\n\n{best.body}\n\n{source}: {best.page}, “{best.title}”{also}\n"


def _last_question(text: str) -> str:
    """Return the last question of a conversation that was flattened into one prompt."""
    if text.endswith("Assistant:"):
        text = f"\n\n{text}".removesuffix("Assistant:").rpartition("\n\nUser: ")[2]
    return text[-2000:]


class _Manual:
    def __init__(self, sections: list[Section]) -> None:
        self._sections = sections
        self._lock = threading.Lock()
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._index.close)  # also at the end of the program
        self._index.execute(
            "create virtual table manual using fts5("
            "title, body, n unindexed, tokenize = 'porter unicode61')"
        )
        self._index.executemany(
            "insert into manual values (?, ?, ?)",
            [(s.title, s.body, n) for n, s in enumerate(sections)],
        )

    def search(self, question: str, russian: bool) -> list[Section]:
        asked = _words(question)
        named = [s for s in self._sections if _words(s.title) == asked]
        query = " OR ".join(_terms(question))
        if not query:
            return named[:1]
        with self._lock:
            rows = self._index.execute(
                "select n from manual where manual match ? "
                "order by bm25(manual, ?, 1.0) * iif(title like '%?', ?, 1)",
                (query, TITLE_WEIGHT, QUESTION_WEIGHT),
            ).fetchall()
        found = (self._sections[row[0]] for row in rows)
        fitting = [section for section in found if _is_russian(section) == russian]
        return [*named, *(section for section in fitting if section not in named)][:3]

    def introduction(self, russian: bool) -> str:
        mine = [s for s in self._sections if _is_russian(s) == russian]
        questions = "\n".join(f"- {s.title}" for s in mine if s.title.endswith("?"))
        greeting = (
            "Здравствуйте! Я — встроенный справочник Berlin. Спросите, например:"
            if russian
            else "Hello! I am the built-in guide to Berlin. You can ask me, for example:"
        )
        return f"{greeting}\n\n{questions}\n"


@cache
def _manual() -> _Manual:
    return _Manual([s for name, text in _pages() for s in split_sections(name, text)])


def _pages() -> list[tuple[str, str]]:
    packaged = resources.files("berlin.providers").joinpath("manual")
    # In a source checkout the manual is where it is written.
    root = packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs"
    return [
        (f"docs/{page.name}", page.read_text("utf-8"))
        for page in sorted(root.iterdir(), key=lambda page: page.name)
        if page.name.endswith(".md")
    ]


def split_sections(page: str, text: str) -> list[Section]:
    """Return the sections of a Markdown page; a section is a heading and what stands below it."""
    sections: list[Section] = []
    title, body, in_code = "", [""], False
    for line in [*text.splitlines(), "# "]:
        in_code ^= line.startswith("```")
        heading = None if in_code else re.match(r"#{1,4}\s(.*)", line)
        if heading is None:
            body.append(line)
            continue
        if title and "".join(body).strip():
            sections.append(Section(page, title, "\n".join(body).strip()))
        title, body = heading[1].strip(), []
    return sections


def _is_russian(section: Section) -> bool:
    return section.page.endswith(".ru.md")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _terms(question: str) -> list[str]:
    words = [word for word in _words(question) if word not in _STOP_WORDS]
    terms = {_SAME.get(word, word) for word in words} | set(words)
    # Russian words change their ends; the first letters find them all.
    return sorted(
        f'"{term[:-2]}"*' if re.search("[а-яё]", term) and len(term) > 5 else f'"{term}"'
        for term in terms
    )
