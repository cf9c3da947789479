"""The manual in sections: a heading, and the text below it."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import msgspec


class Section(msgspec.Struct, frozen=True):
    """A section of the manual.

    Attributes:
        page: its file.
        title: its heading.
        body: the Markdown below it.
    """

    page: str
    title: str
    body: str

    @property
    def is_russian(self) -> bool:
        """Whether it is written in Russian."""
        return self.page.endswith(".ru.md")


def load_sections() -> list[Section]:
    """Return all sections of the manual."""
    return [s for name, text in _pages() for s in split_sections(name, text)]


def split_sections(page: str, text: str) -> list[Section]:
    """Return the sections of a Markdown page; a heading without text is skipped."""
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


def _pages() -> list[tuple[str, str]]:
    packaged = resources.files("berlin.providers").joinpath("manual")
    # In a source checkout the manual is in `docs`.
    root = packaged if packaged.is_dir() else Path(__file__).parents[4] / "docs"
    return [
        (f"docs/{page.name}", page.read_text("utf-8"))
        for page in sorted(root.iterdir(), key=lambda page: page.name)
        if page.name.endswith(".md")
    ]
