"""Terminal output: Markdown as it arrives, without control sequences from a model."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown

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
    """Return text that cannot control a terminal. Pieces can be cut anywhere."""
    return text.translate(_SIGNS)


def one_line(text: str) -> str:
    """Return harmless text without line breaks: a name that a service gave makes no other line."""
    return harmless(text.replace("\r", "\n").translate(_BREAKS))


_BREAKS = {0x0A: 0x240A, 0x09: 0x2409, 0x2028: 0x240A, 0x2029: 0x240A}


def json_line(value: object, indent: int | None = None) -> str:
    """Return a value as JSON that cannot control a terminal, and says the same to a program."""
    return json.dumps(value, ensure_ascii=False, indent=indent).translate(_ESCAPED)


_ESCAPED = {
    code: f"\\u{code:04x}"
    for code in (0x7F, 0x2028, 0x2029, *(code for code in _SIGNS if code >= 0x80))
}


def print_exactly(text: str) -> None:
    """Write text to stdout: as it is in a pipe or file, harmless on a terminal."""
    click.echo(harmless(text) if sys.stdout.isatty() else text, nl=False)


def say(line: str) -> None:
    """Write a line to stderr; if that is closed or full, ignore it."""
    try:
        click.echo(harmless(line), err=True)
    except OSError:
        # Python flushes once more at exit, and would change the exit code for that.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def tell(text: str) -> None:
    """Write a message of the program to stderr."""
    say(f"berlin: {text}")


def warn(text: str) -> None:
    """Write a warning to stderr."""
    tell(f"warning: {text}")


FRAME_S = 0.05


class PlainWriter:
    """Writes text as it is: for pipes and files, and for `--raw`.

    Args:
        reasoning: whether reasoning is shown; it goes to stderr, so that stdout is the answer.
    """

    def __init__(self, *, reasoning: bool = False) -> None:
        self._last = "\n"
        self._reasoning = reasoning
        self._on_terminal = sys.stdout.isatty()
        self._in_reasoning = False

    def write(self, piece: str) -> None:
        """Write the next piece immediately."""
        self._end_reasoning()
        sys.stdout.write(harmless(piece) if self._on_terminal else piece)
        sys.stdout.flush()
        self._last = piece[-1:] or self._last

    def reason(self, piece: str) -> None:
        """Write reasoning to stderr, if wanted."""
        if self._reasoning:
            sys.stderr.write(harmless(piece))
            sys.stderr.flush()
            self._in_reasoning = True

    def close(self) -> None:
        """End the last line."""
        self._end_reasoning()
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()

    def _end_reasoning(self) -> None:
        if self._in_reasoning:
            sys.stderr.write("\n\n")
            sys.stderr.flush()
            self._in_reasoning = False


class MarkdownWriter:
    """Renders Markdown: finished blocks are final, the last one is still redrawn.

    Args:
        console: the console; by default standard output.
        reasoning: whether reasoning is shown, dimmed, before the text.
    """

    def __init__(self, console: Console | None = None, *, reasoning: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._reasoning = reasoning
        self._in_reasoning = False
        self._tail = ""
        self._show_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._live.start()

    def write(self, piece: str) -> None:
        """Show the next piece."""
        self._switch(to_reasoning=False)
        self._add(piece)

    def reason(self, piece: str) -> None:
        """Show the next piece of reasoning, dimmed, if it is wanted."""
        if self._reasoning:
            self._switch(to_reasoning=True)
            self._add(piece)

    def close(self) -> None:
        """Print the last block permanently."""
        if self._later is not None:
            self._later.cancel()
        self._flush()
        self._live.stop()

    def _add(self, piece: str) -> None:
        self._tail += harmless(piece)
        done, self._tail = split_blocks(self._tail)
        if done:
            # Without the refresh, the text would be printed above an outdated tail.
            self._live.update("", refresh=True)
            self._print(done)
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now < self._show_at:
            self._show_later(self._show_at - now)
            return
        self._live.update(_Bottom(self._render(self._tail)), refresh=True)
        # A long block takes long to render: never more than a sixth of the time goes there.
        self._show_at = time.monotonic() + 5 * (time.monotonic() - now) + FRAME_S

    def _show_later(self, delay_s: float) -> None:
        """Make sure that the newest text is shown even if nothing follows it for long."""
        if self._later is None:
            import asyncio  # loaded by now, wherever answers stream

            with contextlib.suppress(RuntimeError):  # no loop: all pieces are there already
                loop = asyncio.get_running_loop()
                self._later = loop.call_later(delay_s, self._show_now)

    def _show_now(self) -> None:
        self._later = None
        if self._tail:
            self._show()

    def _switch(self, *, to_reasoning: bool) -> None:
        if to_reasoning != self._in_reasoning:
            if self._tail.strip():
                self._flush()
                self._console.print()
            self._in_reasoning = to_reasoning

    def _flush(self) -> None:
        self._live.update("", refresh=True)
        if self._tail.strip():
            self._print(self._tail)
        self._tail = ""

    def _print(self, text: str) -> None:
        self._console.print(self._render(text))
        if text.endswith("\n\n"):
            self._console.print()

    def _render(self, text: str) -> Markdown:
        from rich.markdown import Markdown

        return Markdown(text, style="dim" if self._in_reasoning else "none")


Writer: TypeAlias = PlainWriter | MarkdownWriter
"""Shows an answer while it arrives."""


class _Bottom:
    """The last lines of something, as many as fit on the screen: the newest text stays visible."""

    def __init__(self, content: Markdown) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.segment import Segment

        room = max(console.height - 2, 1)
        lines = console.render_lines(self._content, options.update(height=None), pad=False)
        for line in lines[-room:]:
            yield from line
            yield Segment.line()


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


def open_writer(*, raw: bool = False, reasoning: bool | None = None) -> Writer:
    """Return the writer for stdout: rendered Markdown on a terminal, plain text elsewhere.

    Args:
        raw: whether text is never rendered.
        reasoning: whether reasoning is shown; by default only on a terminal.
    """
    on_terminal = sys.stdout.isatty()
    shows = on_terminal if reasoning is None else reasoning
    if on_terminal and not raw:
        return MarkdownWriter(reasoning=shows)
    return PlainWriter(reasoning=shows)


def align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield each row as a line, in columns that are as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, map(one_line, row), widths)).rstrip()


def is_interactive() -> bool:
    """Return whether there is a person at a terminal who can be asked."""
    there = sys.stdin is not None and not sys.stdin.closed
    return there and sys.stdin.isatty() and sys.stderr.isatty()


def can_redraw() -> bool:
    """Return whether a line on stderr can be overwritten."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
