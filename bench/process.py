"""Programs of the benchmark: each on a core of its own, with what it costs as the operating system
counts it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
# What is measured has a core for itself; service and clients of gateways share the other one.
MEASURED, BESIDE = 0, 1


def pinned(core: int | str | None) -> list[str]:
    """Return the beginning of a command that runs on a core, or on some (`0,1`)."""
    if core is None or (os.cpu_count() or 1) < 2 or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(core)]


class Program:
    """A program that runs until the end of a `with` block, or until `end`.

    Args:
        command: what to run.
        core: where; `None` for all cores.
        env: more of the environment.
    """

    def __init__(
        self, command: list[str], core: int | str | None, env: dict[str, str] | None = None
    ) -> None:
        self._errors = open(os.devnull, "w")  # noqa: SIM115  # closed with the program
        self.process = subprocess.Popen(
            [*pinned(core), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sys.stderr if os.environ.get("BENCH_VERBOSE") else self._errors,
            text=True,
            # As installed: without compiled modules a process would be larger and start later.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})},
            start_new_session=True,
        )
        self._command = command

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"it ended: {shlex.join(self._command)}")
        return line

    def ask(self, **command: Any) -> Any:
        """Send a command as a line of JSON, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.line())

    def cpu_s(self) -> float:
        """Return the seconds of CPU that it has used so far, with its children."""
        return sum(map(_cpu_ns, self._tree())) / 1e9

    def memory_mb(self) -> float:
        """Return the resident memory in MB, with its children."""
        return sum(map(_resident_kb, self._tree())) / 1000

    def shared_mb(self) -> float:
        """Return the memory in MB, with its children; what they share is counted once (PSS)."""
        return sum(map(_proportional_kb, self._tree())) / 1000

    def end(self) -> None:
        """Kill it, with its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, 9)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def _tree(self) -> list[int]:
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in _tasks(pid):
                try:
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                except OSError:
                    children = []
                todo += map(int, children)
        return found


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _cpu_ns(pid: int) -> int:
    total = 0
    for task in _tasks(pid):
        try:
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total


def _resident_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def _proportional_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def wait_for_port(port: int, seconds: float) -> None:
    """Wait until something listens. Raises TimeoutError."""
    import socket

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def open_service() -> tuple[Program, str]:
    """Start the chat service, and return it with its URL."""
    service = Program([sys.executable, str(HERE / "service.py")], BESIDE)
    return service, f"http://127.0.0.1:{int(service.line())}"
