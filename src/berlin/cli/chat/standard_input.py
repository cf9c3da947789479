"""Text piped into `berlin chat`."""

from __future__ import annotations

import select
import sys
from typing import BinaryIO

import click

from berlin.cli.input_file import MAX_BYTES
from berlin.cli.terminal import tell

NOTICE_S = 2.0
WAIT_S = 10.0
"""The limit for an open pipe beside a prompt to stay silent: a parent may have left it open."""


def read_question(prompt: str | None, *, waits: bool = True) -> str | None:
    """Return the prompt with piped input; `None` starts a conversation.

    Args:
        prompt: the prompt from the command line.
        waits: whether to read standard input; not if it is an attachment.

    Raises:
        click.UsageError: if there is nothing to ask, or the piped input is not text.
    """
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the prompt is empty")
    if not waits:
        if prompt is None:
            raise click.UsageError("standard input is attached: give a PROMPT with it")
        return prompt
    if sys.stdin is None or sys.stdin.closed:
        if prompt is None:
            raise click.UsageError("there is no prompt, and standard input is closed")
        return prompt
    if sys.stdin.isatty():
        if prompt is None and not sys.stdout.isatty():
            raise click.UsageError("a conversation needs a terminal; give a PROMPT")
        return prompt
    if prompt is not None and not has_input(sys.stdin.buffer, NOTICE_S, WAIT_S):
        return prompt
    piped = as_text(read_whole(sys.stdin.buffer, "standard input"))
    if piped is None:
        raise click.UsageError("standard input is not text in UTF-8")
    if not piped.strip():
        if prompt is None:
            raise click.UsageError("there is no prompt: give one, or pipe text in")
        return prompt
    return piped if prompt is None else f"{prompt}\n\n{piped}"


def has_input(stream: BinaryIO, notice_s: float, wait_s: float) -> bool:
    """Wait until a pipe is readable or at its end; print a note if that takes long."""
    if sys.platform == "win32":  # only sockets can be waited for there
        return True
    if _is_ready(stream, notice_s):
        return True
    tell(
        "waiting for standard input, which is an open pipe; use `</dev/null` if there "
        "is no input, or `-a -` to wait without a limit"
    )
    if _is_ready(stream, wait_s - notice_s):
        return True
    tell(f"no standard input in {wait_s:.0f} s; it is ignored")
    return False


def _is_ready(stream: BinaryIO, seconds: float) -> bool:
    try:
        return bool(select.select([stream], [], [], seconds)[0])
    except (OSError, ValueError):
        return True  # reading it reports the error


def read_whole(stream: BinaryIO, what: str) -> bytes:
    """Return what a file holds. Raises click.UsageError."""
    try:
        data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"{what} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{what} is larger than {MAX_BYTES // 2**20} MiB")
    return data


def as_text(data: bytes) -> str | None:
    """Return text in UTF-8; `None` if the data is something else."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text
