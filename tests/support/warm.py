"""Commands in processes that are forked from one in which Berlin is already imported.

Importing takes most of the time of a command that does little, and the suite runs hundreds. Each
command still has a process, descriptors and an environment of its own. What depends on how Python
itself starts (locale, `PYTHON…` variables, terminals, signals) needs a new one: see `Cli.start`.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: bytes


def run(args: Sequence[str], environ: Mapping[str, str], stdin: bytes, within: float) -> Outcome:
    """Run `berlin` with these arguments to its end.

    Raises:
        TimeoutError: if it is still running after that many seconds; it is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        process = _CONTEXT.Process(target=_become, args=(args, dict(environ), files))
        process.start()
        try:
            process.join(within)
            if process.exitcode is None:
                raise TimeoutError(f"berlin {args[0]} is still running: {files[2].read_text()}")
        finally:
            process.kill()
            process.join()
        code = process.exitcode
        process.close()
        return Outcome(code, files[1].read_bytes(), files[2].read_bytes())


class Running:
    """A program that is still running, with its three pipes.

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
        self._process = process

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        self._process.kill()


@asynccontextmanager
async def started(
    args: Sequence[str], environ: Mapping[str, str], code: str = ""
) -> AsyncIterator[Running]:
    """Run `berlin` with these arguments, or other code, until the end of the block."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as pipes:
        files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        # Opened for both directions, so that neither side waits for the other.
        for file in files:
            os.mkfifo(file, 0o600)
        ends = [pipes.enter_context(file.open("r+b", buffering=0)) for file in files]
        stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, ends[0])
        transports: list[asyncio.BaseTransport] = [stdin]
        readers = [asyncio.StreamReader() for _ in ends[1:]]
        for reader, end in zip(readers, ends[1:], strict=True):
            made = partial(asyncio.StreamReaderProtocol, reader)
            transports.append((await loop.connect_read_pipe(made, end))[0])
        process = _CONTEXT.Process(target=_become, args=(args, dict(environ), files, code))
        await asyncio.to_thread(process.start)
        try:
            yield Running(process, stdin, *readers)
        finally:
            process.kill()
            await asyncio.to_thread(process.join)
            process.close()
            for transport in transports:
                transport.close()


def _become(
    args: Sequence[str], environ: Mapping[str, str], files: Sequence[Path], program: str = ""
) -> None:
    """Be the command, or another program, and end as a new interpreter would."""
    for descriptor, file in enumerate(files):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
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
