"""What a terminal gets to see: Markdown as it comes, and never a control sequence of a model."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

# Control characters become visible signs: C0 and C1 (with them every escape sequence), and the
# marks that turn the direction of writing, with which text can pretend to be other text.
_SIGNS: dict[int, int | None] = {
    **{code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A, 0x0D)},
    0x0D: None,
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(
        (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD
    ),
}


def harmless(text: str) -> str:
    """Return text that cannot drive a terminal. It works on each piece, however they are cut."""
    return text.translate(_SIGNS)


FRAME_S = 0.05


class Writer(Protocol):
    """Shows an answer while it comes."""

    def write(self, piece: str) -> None:
        """Show the next piece."""
        ...

    def close(self) -> None:
        """Show what is left, and end the line."""
        ...


class PlainWriter:
    """Writes text as it is: for pipes and files."""

    def __init__(self) -> None:
        self._last = "\n"

    def write(self, piece: str) -> None:
        """Write the next piece at once."""
        sys.stdout.write(piece)
        sys.stdout.flush()
        self._last = piece[-1:] or self._last

    def close(self) -> None:
        """End the last line."""
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()


class MarkdownWriter:
    """Renders Markdown: finished blocks stay as they are printed, the last one still changes."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(
            console=console or Console(),
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
        )
        self._tail = ""
        self._show_at = 0.0
        self._live.start()

    def write(self, piece: str) -> None:
        """Show the next piece."""
        self._tail += harmless(piece)
        done, self._tail = split_blocks(self._tail)
        if done:
            # Without the refresh, what is printed would stand above the tail as it was shown last.
            self._live.update("", refresh=True)
            self._print(done)
        now = time.monotonic()
        if now >= self._show_at:
            self._refresh()
            # A long block takes long to render: never more than a sixth of the time goes there.
            self._show_at = time.monotonic() + 5 * (time.monotonic() - now) + FRAME_S

    def close(self) -> None:
        """Print the last block for good."""
        self._live.update("", refresh=True)
        self._live.stop()
        if self._tail.strip():
            self._print(self._tail)
        self._tail = ""

    def _print(self, text: str) -> None:
        from rich.markdown import Markdown

        self._live.console.print(Markdown(text))
        if text.endswith("\n\n"):
            self._live.console.print()

    def _refresh(self) -> None:
        from rich.markdown import Markdown

        self._live.update(Markdown(self._tail), refresh=True)


def split_blocks(text: str) -> tuple[str, str]:
    """Return the blocks of Markdown that no further text can change, and the rest.

    A block ends at a blank line outside of fenced code.
    """
    cut = position = 0
    fence = ""
    for line in text.splitlines(keepends=True):
        position += len(line)
        mark = re.match(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)", line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not mark[2].strip():
            fence = ""
        elif not fence and line.strip() == "" and line.endswith("\n"):
            cut = position
    return text[:cut], text[cut:]


def open_writer() -> Writer:
    """Return what fits stdout: rendered Markdown on a terminal, plain text elsewhere."""
    return MarkdownWriter() if sys.stdout.isatty() else PlainWriter()
