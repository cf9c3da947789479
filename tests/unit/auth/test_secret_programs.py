"""Secrets of programs: what they print, and programs that print too much, nothing, or never end."""

from __future__ import annotations

import sys

import pytest

from berlin.auth import secret_sources
from berlin.auth.secret_sources import CommandSecret
from berlin.errors import ConfigurationError


def program(text: str) -> CommandSecret:
    """Return the secret that a program in Python prints."""
    return CommandSecret((sys.executable, "-c", text))


def test_what_a_program_prints() -> None:
    """White space around it is not part of the secret."""
    assert program("print(' s3cret-of-a-program ')").read() == "s3cret-of-a-program"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("while True: print('x' * 65536)", "printed more than 65536 bytes"),
        ("raise SystemExit(3)", "failed with exit code 3"),
        ("pass", "gives nothing"),
        ("import os; os.write(1, b'\\xff')", "not UTF-8"),
    ],
)
def test_a_program_without_a_secret(text: str, why: str) -> None:
    """One line says what is wrong; a program that prints for ever is cut by size, not by time."""
    with pytest.raises(ConfigurationError, match=why):
        program(text).read()


def test_a_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended with its children, which hold its output open."""
    monkeypatch.setattr(secret_sources, "COMMAND_TIMEOUT_S", 0.3)
    child = "import subprocess; subprocess.run(['sleep', '60'])"
    with pytest.raises(ConfigurationError, match="printed nothing"):
        program(child).read()


def test_a_program_that_is_not_there() -> None:
    """The message names the program, not its arguments."""
    with pytest.raises(ConfigurationError, match="no-such-program cannot be run") as caught:
        CommandSecret(("no-such-program", "argument-with-a-secret")).read()
    assert "argument" not in caught.value.message
