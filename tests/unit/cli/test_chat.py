"""Parts of `berlin chat` that need no terminal."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click import UsageError

from berlin.cli.chat.attach import attach
from berlin.cli.chat.history import Entry, History
from berlin.cli.chat.line import is_open, strip_block
from berlin.cli.chat.slash import TypedCommand, parse
from berlin.cli.chat.standard_input import has_input
from berlin.cli.options import _joined
from berlin.errors import ConfigurationError
from berlin.types import Message
from berlin.types.messages import FilePart, ImagePart, TextPart


@pytest.mark.parametrize(
    ("line", "typed"),
    [
        ("/help", TypedCommand("/help", "")),
        ("/quit", TypedCommand("/exit", "")),
        ("/model  work:big ", TypedCommand("/model", "work:big")),
        ("a question", None),
        (" /not a command", None),
    ],
)
def test_a_line_is_a_command_or_a_question(line: str, typed: TypedCommand | None) -> None:
    """A slash at the very beginning makes a command; a blank before it a question."""
    assert parse(line) == typed


def test_an_unknown_command_names_the_nearest() -> None:
    """What begins with a slash and is no command is an error, not a question."""
    with pytest.raises(ValueError, match="did you mean /save"):
        parse("/sav x")


@pytest.mark.parametrize(
    ("text", "open_"),
    [('"""', True), ('"""one\ntwo', True), ('"""one"""', False), ("one", False), ('a """', False)],
)
def test_a_block_is_open_until_its_end(text: str, open_: bool) -> None:
    """Three quotes at the beginning open a block, and three more end it."""
    assert is_open(text) == open_


def test_the_marks_of_a_block_are_not_sent() -> None:
    """Only the text between the marks is the question."""
    assert strip_block('"""\none\ntwo\n"""') == "one\ntwo"
    assert strip_block('say """ twice') == 'say """ twice'


@pytest.mark.parametrize(
    ("args", "joined"),
    [
        (["-o", "a", "1", "Hi"], ["-o", "a=1", "Hi"]),
        (["-o", "a=1", "Hi"], ["-o", "a=1", "Hi"]),
        (["--option", "a", "x=y"], ["--option", "a=x=y"]),
        (["--", "-o", "a", "1"], ["--", "-o", "a", "1"]),
        (["-o"], ["-o"]),
        (["-o", "a"], ["-o", "a"]),
    ],
)
def test_two_words_of_an_option_become_one(args: list[str], joined: list[str]) -> None:
    """`-o NAME VALUE` is `-o NAME=VALUE`, but not after `--`."""
    assert _joined(args) == joined


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.jpg", b"\xff\xd8\xff\xe0rest", ImagePart),
        ("a.webp", b"RIFF\0\0\0\0WEBPrest", ImagePart),
        ("a.pdf", b"%PDF-1.7 rest", FilePart),
        ("a.txt", "Привет".encode(), TextPart),
    ],
)
def test_a_file_is_known_by_its_content(tmp_path: Path, name: str, data: bytes, kind: type) -> None:
    """The first bytes say what a file is, not its name."""
    file = tmp_path / name
    file.write_bytes(data)
    [part] = attach((str(file),))
    assert type(part) is kind


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    """A file of more than 20 MiB is refused, and not read to its end."""
    file = tmp_path / "large"
    with file.open("wb") as made:
        made.truncate(20 * 2**20 + 1)
    with pytest.raises(UsageError, match="larger than 20 MiB"):
        attach((str(file),))


def test_an_open_pipe_that_stays_silent_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard input that nobody writes to and nobody closes does not stop a prompt for ever."""
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as stream, os.fdopen(writes, "wb"):
        assert not has_input(stream, 0.01, 0.02)
    said = capsys.readouterr().err
    assert "waiting for standard input" in said
    assert "it is ignored" in said


def test_a_pipe_with_something_in_it_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    """What is there, or at its end, is not waited for."""
    reads, writes = os.pipe()
    with os.fdopen(reads, "rb") as stream:
        os.write(writes, b"x")
        assert has_input(stream, 5, 9)
        os.close(writes)
        assert has_input(stream, 5, 9)
    assert capsys.readouterr().err == ""


def test_a_conversation_comes_back_whole(tmp_path: Path) -> None:
    """Images and ids of the service are there again."""
    history = History(tmp_path / "deep" / "conversations.sqlite")
    question = Message("user", (TextPart("What?"), ImagePart("data:image/png;base64,AA==")))
    made = history.begin("work:m", "What?\n" + "x" * 200)
    history.add(made, [Entry(time.time(), question)], "service-1", "message-1")
    history.add(made, [Entry(time.time(), Message.of("assistant", "That."))], "", "message-2")
    kept = history.find(made[:5])
    assert (kept.service_id, kept.parent_id, kept.model) == ("service-1", "message-2", "work:m")
    assert len(kept.title) == 60
    assert next(entry.message for entry in history.entries(made)) == question


def test_ids_that_begin_alike_are_not_guessed(tmp_path: Path) -> None:
    """A beginning that several ids have is an error."""
    history = History(tmp_path / "conversations.sqlite")
    made = {history.begin("m", "q")[0] for _ in range(40)}
    shared = next(first for first in made)
    if len([c for c in history.search(limit=100) if c.id.startswith(shared)]) > 1:
        with pytest.raises(ConfigurationError, match="more than one"):
            history.find(shared)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A broken file is a clear error that says how to do without."""
    path = tmp_path / "conversations.sqlite"
    path.write_text("no database " * 100)
    with pytest.raises(ConfigurationError, match=r"`\[terminal\] history = false`"):
        History(path).begin("m", "q")
