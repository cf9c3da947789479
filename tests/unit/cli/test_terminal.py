"""What a terminal gets to see."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from berlin.cli.terminal import (
    MarkdownWriter,
    PlainWriter,
    align,
    harmless,
    json_line,
    one_line,
    split_blocks,
)


def shown(pieces: list[str], *, terminal: bool = False) -> str:
    """Return what a console of 60 columns shows of an answer."""
    out = io.StringIO()
    console = Console(file=out, width=60, height=20, force_terminal=terminal, color_system=None)
    writer = MarkdownWriter(console)
    for piece in pieces:
        writer.write(piece)
    writer.close()
    return out.getvalue()


def lines(text: str) -> list[str]:
    """Return the lines that hold something, without sequences and the blanks at their ends."""
    plain = re.sub(r"\x1b\[[0-?]*[@-~]", "", text)
    return [line.strip() for line in plain.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("Привет 🐻 é", "Привет 🐻 é"),
        ("\x1b[31mred", "␛[31mred"),
        ("\x07\x08\x00\x0b\x0c\x7f", "␇␈␀␋␌␡"),
        ("\x9b31m\x85\x80\x9f", "\ufffd31m\ufffd\ufffd\ufffd"),
        ("a\r\nb\rc", "a\nbc"),
        ("\u202e\u2066\u200f\u061c", "\ufffd" * 4),
        ("\u200b\u200d", "\u200b\u200d"),  # emoji are joined with these
        ("", ""),
    ],
)
def test_harmless(text: str, expected: str) -> None:
    """Control characters become signs, and everything else stays."""
    assert harmless(text) == expected


def test_no_control_character_is_left() -> None:
    """Of all characters only tab and new line remain that a terminal acts upon."""
    every = "".join(map(chr, range(0x3000)))
    left = {c for c in harmless(every) if not c.isprintable() and ord(c) < 0xA0}
    assert left == {"\t", "\n"}
    assert not set(harmless(every)) & set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066")


@pytest.mark.parametrize(
    ("text", "done", "rest"),
    [
        ("", "", ""),
        ("one line", "", "one line"),
        ("one line\n", "", "one line\n"),
        ("one\n\n", "one\n\n", ""),
        ("one\n\ntwo", "one\n\n", "two"),
        ("one\n \t\ntwo\n\nthree\n", "one\n \t\ntwo\n\n", "three\n"),
        ("```\na\n\nb\n", "", "```\na\n\nb\n"),
        ("```\na\n\nb\n```\n\nc", "```\na\n\nb\n```\n\n", "c"),
        ("~~~\n```\n\n~~~\n\nc", "~~~\n```\n\n~~~\n\n", "c"),
        ("````\n```\n\n````\n\nc", "````\n```\n\n````\n\n", "c"),
        ("one\n\n```py\nx\n\n", "one\n\n", "```py\nx\n\n"),
        ("one\n ", "", "one\n "),
    ],
)
def test_split_blocks(text: str, done: str, rest: str) -> None:
    """A block is finished at a blank line, but not in the middle of code."""
    assert split_blocks(text) == (done, rest)


def test_split_loses_nothing() -> None:
    """The two parts are the whole, wherever the text is cut."""
    text = "# T\n\none\n\n```\na\n\nb\n```\n\n* x\n* y\n\nend"
    for cut in range(len(text) + 1):
        assert "".join(split_blocks(text[:cut])) == text[:cut]


def test_inner_fence_with_a_word_does_not_end_code() -> None:
    """A fence with a word behind it opens code and never closes it (CommonMark 4.5)."""
    text = "```\n```python\n\nx\n"
    assert split_blocks(text) == ("", text)


MARKDOWN = (
    "# Title\n\nSome **bold** and `code`.\n\n* one\n* two\n\n```python\nx = 1\n\ny = 2\n```\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\nThe end."
)


def test_answer_is_shown_once() -> None:
    """However an answer is cut, what stays on the screen is the same, each line once."""
    whole = lines(shown([MARKDOWN]))
    assert whole.count("Some bold and code.") == 1
    assert whole[-1] == "The end."
    for size in (1, 7, 40):
        pieces = [MARKDOWN[at : at + size] for at in range(0, len(MARKDOWN), size)]
        assert lines(shown(pieces)) == whole


def test_blocks_stand_apart() -> None:
    """Between two paragraphs is a blank line, as in the whole."""
    text = shown(["one\n\n", "two\n\n", "three"])
    assert [line.rstrip() for line in text.splitlines()] == ["one", "", "two", "", "three"]


def test_answer_without_an_end_is_shown() -> None:
    """Code that was never closed, and half a table, are shown as far as they came."""
    assert "x = 1" in lines(shown(["```\nx = ", "1"]))
    assert "half" in shown(["| half |\n|--"])


def test_nothing_is_shown_for_nothing() -> None:
    """An empty answer leaves nothing on the screen."""
    assert lines(shown([])) == []
    assert lines(shown(["", "\n", " \n"])) == []


def test_on_a_terminal_the_cursor_comes_back() -> None:
    """The cursor is hidden while the answer comes, and shown at its end."""
    text = shown(["Hello"], terminal=True)
    assert text.index("\x1b[?25l") < text.rindex("\x1b[?25h")
    assert "\x1b[?25l" not in text[text.rindex("\x1b[?25h") :]


def test_plain_writer_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    """In a pipe the pieces stand as they came; only a missing new line is added at the end."""
    for pieces, expected in (
        (["a", "b\x1b[31m", "c"], "ab\x1b[31mc\n"),
        (["a\n"], "a\n"),
        (["a\n", ""], "a\n"),
        (["a\n\n"], "a\n\n"),
        ([], ""),
        ([""], ""),
    ):
        writer = PlainWriter()
        for piece in pieces:
            writer.write(piece)
        writer.close()
        assert capsys.readouterr().out == expected


def test_a_name_is_one_line() -> None:
    """A model named by a service can neither control the terminal nor look like another line."""
    odd = "a\nberlin: all is well\r\tb\x1b]0;x\x07\u2028c"
    expected = "a␊berlin: all is well␊␉b␛]0;x␇␊c"
    assert one_line(odd) == expected
    assert list(align([(odd, "x")])) == [f"{expected}  x"]


def test_json_on_a_terminal() -> None:
    """Each line is harmless there, and says the same to a program."""
    value = {"text": "a\x1b[31m\x9b31m\x7f\u202eb\u2028", "other": "é ж 🐻"}
    line = json_line(value)
    assert json.loads(line) == value
    assert harmless(line) == line
    assert "é ж 🐻" in line
