"""Commands in processes that are forked from one in which Berlin is already imported.

Importing takes most of the time of a command that does little, and the suite runs hundreds. Each
command still has a process, descriptors and an environment of its own. What depends on how Python
itself starts (locale, `PYTHON…` variables, terminals, signals) needs a new one: see `Cli.start`.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import reduction

from support.patience import patience

# With those that the commands import only when they are used. Nothing of the tests: their folder is
# not in the path of the fork server.
PRELOADED = [
    "aiohttp.web",
    "prompt_toolkit.shortcuts",
    "rich.markdown",
    "prometheus_client",
    "uvloop",
    "berlin.client",
    "berlin.cli.gateway.serve",
    "berlin.cli.main",
    "berlin.cli.provider.token",
    "berlin.gateway.app",
    "berlin.gateway.serving.server",
    "berlin.gateway.setup",
    "berlin.routing.tools_over_text.provider",
]
PATIENCE = "TESTS_REDIS_TIMEOUT_S"
"""The variable with the seconds that a process waits for its Redis, if a test is about what Redis
counts: on a busy machine it would otherwise go on without it, as documented."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: bytes


class _Inherited:
    """A descriptor on its way into a forked process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[object, ...]:
        return reduction.DupFd(self.descriptor).detach, ()


class Running:
    """A program that is still running, as `asyncio.subprocess.Process` shows one.

    Args:
        process: the forked process.
        stdin: its standard input.
        stdout: its standard output.
        stderr: its standard error.
    """

    def __init__(
        self,
        process: multiprocessing.process.BaseProcess,
        stdin: asyncio.WriteTransport,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.pid = process.pid or 0
        self._process = process
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.sentinel, self._end)

    @property
    def returncode(self) -> int | None:
        """The exit code; negative for a signal, `None` while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        await self._ended.wait()
        code = self.returncode
        assert code is not None
        return code

    async def communicate(self, data: bytes = b"") -> tuple[bytes, bytes]:
        """Write and close its standard input, and return all that it says until its end."""
        if data:
            self.stdin.write(data)
        self.stdin.close()
        said = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return said[0], said[1]

    def _end(self) -> None:
        self._loop.remove_reader(self._process.sentinel)
        self._ended.set()


@asynccontextmanager
async def started(
    args: Sequence[str], environ: Mapping[str, str], code: str = ""
) -> AsyncIterator[Running]:
    """Run `berlin` with these arguments, or other code; it is killed at the end of the block."""
    loop = asyncio.get_running_loop()
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    ours = [os.fdopen(pipes[0][1], "wb", 0), *(os.fdopen(pipe[0], "rb", 0) for pipe in pipes[1:])]
    given = [_Inherited(descriptor) for descriptor in theirs]
    process = _CONTEXT.Process(target=_become, args=(args, dict(environ), given, code))
    transports: list[asyncio.BaseTransport] = []
    try:
        await asyncio.to_thread(process.start)
        for descriptor in theirs:
            os.close(descriptor)
        stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, ours[0])
        transports.append(stdin)
        readers = [asyncio.StreamReader() for _ in ours[1:]]
        for reader, end in zip(readers, ours[1:], strict=True):
            made = partial(asyncio.StreamReaderProtocol, reader)
            transports.append((await loop.connect_read_pipe(made, end))[0])
        running = Running(process, stdin, *readers)
        try:
            yield running
        finally:
            running.kill()
            await running.wait()
    finally:
        for transport in transports:
            transport.close()
        process.close()


async def run(
    args: Sequence[str], environ: Mapping[str, str], stdin: bytes, within: float
) -> Outcome:
    """Run `berlin` with these arguments to its end.

    Raises:
        TimeoutError: if it is still running after that many seconds; it is killed.
    """
    async with started(args, environ) as process, asyncio.timeout(within):
        out, err = await process.communicate(stdin)
        return Outcome(await process.wait(), out, err)


def _become(
    args: Sequence[str], environ: Mapping[str, str], given: Sequence[int], program: str = ""
) -> None:
    """Be the command, or another program, and end as a new interpreter would."""
    for descriptor, inherited in enumerate(given):
        os.dup2(inherited, descriptor)
        os.close(inherited)
    os.environ.clear()
    os.environ.update(environ)
    sys.stdin = os.fdopen(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv = ["berlin", *args]
    warnings.simplefilter("error")
    code = 0
    try:
        missing = [name for name in PRELOADED if name not in sys.modules]
        assert not missing, missing  # the fork server does not report what it cannot import
        if PATIENCE in environ:
            patience(float(environ[PATIENCE])).__enter__()  # for as long as it runs
        if program:
            exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
        else:
            from berlin.__main__ import main

            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    # What was left open is found, and said on stderr, as at the end of an interpreter.
    gc.collect()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
