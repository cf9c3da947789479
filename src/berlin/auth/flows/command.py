"""The command flow: a program prints the token, as with `kubectl` and the AWS tools."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time

import msgspec

from berlin.auth.attach import BEARER, Attach, check_attach
from berlin.auth.contract import Flow, Send, Unattended
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import outline
from berlin.auth.grant import Grant, parse_grant
from berlin.errors import AuthenticationError, ConfigurationError, ProtocolError
from berlin.language.step import SESSION_NAMES
from berlin.types import Secret
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import get_at, parse_pointer
from berlin.wire.snippet import snippet

MAX_OUTPUT_BYTES = 256 * 1024


class CommandMap(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="flow", tag="command"
):
    """`flow = "command"`: the table `[auth]`.

    Attributes:
        command: the program and its arguments; no shell is involved.
        take: pointers to `token` and an expiry in the JSON that it prints; if empty, it prints only
            the token.
        timeout_s: the time limit in seconds.
        attach: how requests carry the token.
        rejected_statuses: the statuses that mean that the token is no longer valid.
    """

    command: list[str]
    take: dict[str, str] = {}
    timeout_s: float = 30.0
    attach: Attach = BEARER
    rejected_statuses: tuple[int, ...] = (401,)

    def flow(self) -> Flow:
        """Return the flow. Raises ConfigurationError."""
        if not self.command:
            raise ConfigurationError("command is empty: name the program that prints the token")
        check_attach(self.attach, SESSION_NAMES | self.take.keys())
        return CommandFlow(self)


class CommandFlow(Unattended):
    """The flow that a `CommandMap` describes."""

    needs: tuple[str, ...] = ()
    asks = True

    def __init__(self, command: CommandMap) -> None:
        self._map = command
        self._pointers = {name: parse_pointer(place) for name, place in command.take.items()}

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Run the program; see `Flow`."""
        output = await self._run()
        if not self._pointers:
            token = output.decode("utf-8", "replace").strip()
            return parse_grant({"token": token}, time.time(), "nothing", self._map.command[0])
        try:
            document = msgspec.json.decode(output)
        except DECODE_ERRORS as error:
            raise ProtocolError(f"{self._map.command[0]} did not print JSON") from error
        values = {name: get_at(document, pointer) for name, pointer in self._pointers.items()}
        return parse_grant(values, time.time(), outline(document), self._map.command[0])

    async def renew(
        self, credentials: Credentials, refresh_token: Secret, send: Send
    ) -> Grant | None:
        """Return `None`: the program is run again instead."""
        return None

    async def _run(self) -> bytes:
        name = self._map.command[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._map.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            raise ConfigurationError(f"the program {name} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(self._map.timeout_s):
                output, complaint = await asyncio.gather(
                    _read_bounded(process.stdout, name), _read_bounded(process.stderr, name)
                )
                await process.wait()
        except TimeoutError as error:
            raise AuthenticationError(
                f"{name} printed no token in {self._map.timeout_s:g} s"
            ) from error
        finally:
            if process.returncode is None:
                _kill(process)
                # `wait` waits for the end of the pipes too, and one that is not read has none.
                process._transport.close()  # type: ignore[attr-defined]  # private
                await process.wait()
        if process.returncode != 0:
            raise AuthenticationError(f"{name} failed ({process.returncode}): {snippet(complaint)}")
        return output


async def _read_bounded(stream: asyncio.StreamReader | None, name: str) -> bytes:
    """Read to the end. Raises ProtocolError if it is too long: a program may print forever."""
    pieces, size = [], 0
    while stream is not None and (piece := await stream.read(MAX_OUTPUT_BYTES)):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_OUTPUT_BYTES:
            raise ProtocolError(f"{name} printed more than {MAX_OUTPUT_BYTES} bytes")
    return b"".join(pieces)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill a program and its children: a running child would keep the output pipe open."""
    with contextlib.suppress(ProcessLookupError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
