"""Commands in processes that are forked from one in which Berlin is already imported.

Importing takes most of the time of a command that does little, and the suite runs hundreds. Each
command still has a process, descriptors and an environment of its own. What depends on how Python
itself starts (locale, `PYTHON…` variables, terminals, signals) needs a new one: see `Cli.start`.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["support.warm_imports"])


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


def _become(args: Sequence[str], environ: Mapping[str, str], files: Sequence[Path]) -> None:
    """Be the command, and end as a new interpreter would."""
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
