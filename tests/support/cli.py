"""The command line as a person or a script meets it: a real process, with a home of its own.

cli = Cli(tmp_path).uses(service.url)
ended = await cli.run("chat", "Hello")
assert (ended.code, ended.out, ended.err) == (0, "Hi\n", "")
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support import warm

# Every warning is an error: a file or a socket that is left open shows on stderr.
BERLIN = (sys.executable, "-W", "error", "-m", "berlin")

NOTICE = (
    "berlin: this is the built-in guide, not a model. "
    "To use a real service: berlin add https://your.service\n"
)

# Makes the terminal on descriptor 0 the one whose Ctrl-C reaches the program.
_ON_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.argv[1], sys.argv[1:])
"""

_URL = re.compile(r"http://\S+")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        return self.data.decode()


class Cli:
    """The command `berlin` of one user.

    Args:
        home: the folder that is the user's home.
    """

    def __init__(self, home: Path) -> None:
        self.home = home / "home"
        self.home.mkdir(exist_ok=True)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "LC_ALL": "C.UTF-8",
        }

    @property
    def config(self) -> Path:
        """The user's configuration file."""
        return self.home / "config" / "berlin" / "berlin.toml"

    @property
    def data(self) -> Path:
        """The folder of what Berlin keeps for the user."""
        return self.home / "data" / "berlin"

    def configure(self, text: str) -> Self:
        """Write the user's configuration file; nobody else may read it."""
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(text, "utf-8")
        self.config.chmod(0o600)
        return self

    def uses(self, url: str, account: str = "account", password: str = "password") -> Self:
        """Name a service in the environment."""
        self.environ |= {
            "BERLIN_URL": url,
            "BERLIN_ACCOUNT": account,
            "BERLIN_PASSWORD": password,
        }
        return self

    async def run(
        self, *args: str, stdin: str | bytes = b"", within: float = 60.0, **environ: str
    ) -> Ended:
        """Run a command to its end, in a forked process unless Python's own start matters."""
        if not any(name.startswith(("PYTHON", "LC_")) for name in environ):
            data = stdin.encode() if isinstance(stdin, str) else stdin
            ended = await warm.run(args, {**self.environ, **environ}, data, within)
            return Ended(ended.code, ended.out, ended.err.decode())
        async with self.start(*args, **environ) as process:
            data = stdin.encode() if isinstance(stdin, str) else stdin
            async with asyncio.timeout(within):
                out, err = await process.communicate(data)
        assert process.returncode is not None
        return Ended(process.returncode, out, err.decode())

    async def shell(self, line: str, within: float = 60.0) -> Ended:
        """Run a line of shell in which `$BERLIN` is the command."""
        environ = {**self.environ, "BERLIN": " ".join(BERLIN)}
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            line,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with _ends(process), asyncio.timeout(within):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out, err.decode())

    @asynccontextmanager
    async def start(
        self, *args: str, command: Sequence[str] = BERLIN, **environ: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command with three pipes; it is killed if it is still there at the end."""
        process = await asyncio.create_subprocess_exec(
            *command,
            *args,
            env={**self.environ, **environ},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with _ends(process):
            yield process

    @asynccontextmanager
    async def serve(
        self, *args: str, forked: bool = False
    ) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
        """Run `berlin serve` on a free port, and give its process and its URL.

        Args:
            args: more arguments.
            forked: take a forked process, for what does not depend on how Python starts.
        """
        command = ("serve", "--port", "0", *args)
        started = warm.started(command, self.environ) if forked else self.start(*command)
        async with started as process:
            async with asyncio.timeout(60):
                said = (await reader(process.stderr).readline()).decode()
            found = _URL.search(said)
            assert found is not None, said
            yield process, found[0]

    @asynccontextmanager
    async def terminal(
        self, *args: str, command: Sequence[str] = BERLIN, **environ: str
    ) -> AsyncIterator[Terminal]:
        """Run a command on a terminal of its own."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        ours = {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "COLORTERM": "truecolor"}
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _ON_TERMINAL),
                *command,
                *args,
                env={**self.environ, **ours, **environ},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        async with _ends(process):
            terminal = Terminal(process, master)
            try:
                yield terminal
            finally:
                terminal.close()


class Terminal:
    """The person's side of a terminal.

    Attributes:
        process: the program on the other side.
        shown: all bytes that the program has written.
    """

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.shown = b""
        self._master = master
        self._seen = 0
        self._changed = asyncio.Event()
        self._open = True
        os.set_blocking(master, False)
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def text(self) -> str:
        """All that was shown, without the terminal's own sequences."""
        return strip_sequences(self.shown.decode("utf-8", "replace"))

    async def sees(self, text: str, within: float = 30.0) -> None:
        """Wait until the text is shown, after what was waited for before."""
        try:
            async with asyncio.timeout(within):
                while (at := self.text.find(text, self._seen)) < 0:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in {self.text[self._seen :]!r}") from None
        self._seen = at + len(text)

    async def asks(self) -> None:
        """Wait for the prompt of a conversation."""
        await self.sees(">")

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    async def fills(self, prompt: str, line: str) -> None:
        """Wait for a prompt, and type a line."""
        await self.sees(prompt)
        self.types(f"{line}\r")

    async def answers(self, question: str, answer: str) -> None:
        """Type a question at the prompt, and wait for the answer."""
        await self.fills(">", question)
        await self.sees(answer)

    async def leaves(self) -> None:
        """End the conversation at its prompt, by Ctrl-D."""
        await self.asks()
        self.types("\x04")
        assert await self.ends() == 0

    async def ends(self, within: float = 30.0) -> int:
        """Wait for the end of the program and return its exit code."""
        async with asyncio.timeout(within):
            code = await self.process.wait()
            while self._open:
                self._changed.clear()
                await self._changed.wait()
        return code

    def close(self) -> None:
        """Close the terminal."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # nobody has the other side open any more
        if not data:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._master)
        self.shown += data
        self._changed.set()


def strip_sequences(text: str) -> str:
    """Return text without control sequences (CSI and OSC)."""
    return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\))", "", text)


def reader(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    """Return a pipe that is known to be there."""
    assert stream is not None
    return stream


@asynccontextmanager
async def _ends(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    try:
        yield
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
