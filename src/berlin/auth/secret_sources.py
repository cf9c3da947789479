"""Secrets that are read again whenever a login needs them: from a file, a keyring or a program."""

from __future__ import annotations

import asyncio
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import msgspec

from berlin.auth.programs import run_program
from berlin.auth.sharing import shared_bits
from berlin.auth.system_keyring import SYSTEM, KeyringFailed, NoKeyring
from berlin.errors import ConfigurationError, MissingCredentialsError, ProtocolError
from berlin.wire.framings.contract import BOM
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import get_at, parse_pointer

MAX_SECRET_BYTES = 64 * 1024
COMMAND_TIMEOUT_S = 30.0


class FileSecret(msgspec.Struct, frozen=True):
    """A file: a projected token, a mounted secret, a private key.

    Attributes:
        at: pointer to the secret in the JSON of the file; `""` takes the whole file.
    """

    path: str
    at: str = ""

    @property
    def place(self) -> str:
        """The file."""
        return f"{self.at} of the file {self.path}" if self.at else f"the file {self.path}"

    def read(self) -> str:
        """Return the contents of the file, stripped of white space.

        The file may be a symbolic link, as mounted secrets are. Raises ConfigurationError if
        another user could have written it.
        """
        try:
            # Non-blocking, because a named pipe may have no writer.
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            try:
                self._check(descriptor)
                data = os.read(descriptor, MAX_SECRET_BYTES + 1)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigurationError(
                f"the secret in {self.path} cannot be read: {error.strerror}"
            ) from None
        if len(data) > MAX_SECRET_BYTES:
            raise ConfigurationError(f"{self.path} is longer than {MAX_SECRET_BYTES} bytes")
        return _member(data, self.at, self.place) if self.at else _text(data, self.place)

    def _check(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{self.path} is not a plain file; name one")
        if os.name != "posix":
            return
        if status.st_uid not in (0, os.getuid()):
            raise ConfigurationError(
                f"{self.path} belongs to another user, who could put another secret there; "
                "take a copy of your own"
            )
        if shared_bits(descriptor, status) & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigurationError(
                f"{self.path} can be changed by others; run: chmod go-w {self.path}"
            )


class KeyringSecret(msgspec.Struct, frozen=True):
    """An entry in the system's keyring."""

    service: str
    name: str

    @property
    def place(self) -> str:
        """The entry."""
        return f"the keyring entry {self.service}/{self.name}"

    def read(self) -> str:
        """Return the entry. Raises ConfigurationError."""
        try:
            found = SYSTEM.read(self.service, self.name)
        except (NoKeyring, KeyringFailed) as error:
            raise ConfigurationError(f"{self.place} cannot be read: {error.message}") from None
        if not found:
            raise ConfigurationError(
                f"{self.place} does not exist; run: keyring set {self.service} {self.name}"
            )
        return found


class CommandSecret(msgspec.Struct, frozen=True):
    """The output of a program, such as a password manager. No shell is involved."""

    command: tuple[str, ...]

    def __repr__(self) -> str:
        return f"CommandSecret({self.place})"

    @property
    def place(self) -> str:
        """The program, without its arguments: they may contain a secret."""
        return f"the program {self.command[0]}"

    def read(self) -> str:
        """Return what the program prints. Raises ConfigurationError."""
        running = run_program(self.command, COMMAND_TIMEOUT_S, MAX_SECRET_BYTES)
        try:
            with ThreadPoolExecutor(1) as thread:  # this one may have a running loop
                code, output, _ = thread.submit(asyncio.run, running).result()
        except TimeoutError:
            raise ConfigurationError(
                f"{self.place} printed nothing in {COMMAND_TIMEOUT_S:.0f} s"
            ) from None
        except ProtocolError as error:
            raise ConfigurationError(f"the program {error.message}") from None
        except OSError as error:
            raise ConfigurationError(f"{self.place} cannot be run: {error.strerror}") from None
        if code != 0:
            raise ConfigurationError(f"{self.place} failed with exit code {code}")
        return _text(output, self.place)


class CallerSecret(msgspec.Struct, frozen=True):
    """The token that the caller of the gateway sends with a request."""

    @property
    def place(self) -> str:
        """The request."""
        return "the caller's request"

    def read(self) -> str:
        """Refuse: only the gateway has callers. Raises MissingCredentialsError."""
        raise MissingCredentialsError(
            "this provider uses the token of each caller of the gateway (`{ caller = true }`), and "
            "there is no caller here: start `berlin serve`, and send it a request"
        )


SecretSource: TypeAlias = FileSecret | KeyringSecret | CommandSecret | CallerSecret
"""A source of a secret: `read` returns it and may block, `place` describes the source."""


def _member(data: bytes, at: str, place: str) -> str:
    try:
        found = get_at(msgspec.json.decode(data.removeprefix(BOM)), parse_pointer(at))
    except DECODE_ERRORS:
        found = None
    text = found.strip() if isinstance(found, str) else ""
    if not text:
        raise ConfigurationError(f"there is no text at {place}")
    return text


def _text(data: bytes, place: str) -> str:
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{place} gives bytes that are not UTF-8 text") from None
    if not text:
        raise ConfigurationError(f"{place} gives nothing: the secret is empty")
    return text
