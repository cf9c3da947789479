"""The command flow: a program prints the token, as with `kubectl` and the AWS tools."""

from __future__ import annotations

import time

import msgspec

from berlin.auth.attach import FlowMap, check_attach
from berlin.auth.contract import Flow, Send, Unattended
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import outline
from berlin.auth.grant import Grant, parse_grant
from berlin.auth.programs import run_program
from berlin.errors import AuthenticationError, ConfigurationError, ProtocolError
from berlin.language.step import SESSION_NAMES
from berlin.wire.json import DECODE_ERRORS
from berlin.wire.pointer import get_at, parse_pointer
from berlin.wire.snippet import snippet

MAX_OUTPUT_BYTES = 256 * 1024


class CommandMap(FlowMap, frozen=True, tag="command"):
    """`flow = "command"`: the table `[auth]`.

    Attributes:
        command: the program and its arguments; no shell is involved.
        take: pointers to `token` and an expiry in the JSON that it prints; if empty, it prints only
            the token.
        timeout_s: the time limit in seconds.
    """

    command: list[str]
    take: dict[str, str] = msgspec.field(default_factory=dict)
    timeout_s: float = 30.0

    def flow(self) -> Flow:
        """Return the flow. Raises ConfigurationError."""
        if not self.command:
            raise ConfigurationError("command is empty: name the program that prints the token")
        check_attach(self.attach, SESSION_NAMES | self.take.keys())
        return CommandFlow(self)


class CommandFlow(Unattended):
    """The flow that a `CommandMap` describes."""

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

    async def _run(self) -> bytes:
        name, timeout_s = self._map.command[0], self._map.timeout_s
        try:
            code, output, complaint = await run_program(
                self._map.command, timeout_s, MAX_OUTPUT_BYTES
            )
        except TimeoutError as error:
            raise AuthenticationError(f"{name} printed no token in {timeout_s:g} s") from error
        except OSError as error:
            raise ConfigurationError(f"the program {name} cannot be run: {error}") from error
        if code != 0:
            raise AuthenticationError(f"{name} failed ({code}): {snippet(complaint)}")
        return output
