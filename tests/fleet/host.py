"""One host of the fleet: `berlin serve` with its workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from fleet.network import Place
from support.cli import reader

PORT = 4114
READY_S = 90.0


class Host:
    """A gateway.

    Args:
        number: its number.
        place: where it runs.
        folder: its own files.
        workers: the number of its workers.
        environ: the environment of its processes.

    Attributes:
        url: its URL.
        said: the lines that it has written to stderr.
        killed_at: when its workers were killed, on the monotonic clock.
        without_store_at: when one of them said that the token store has failed.
    """

    def __init__(
        self, number: int, place: Place, folder: Path, workers: int, environ: dict[str, str]
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.number = number
        self.folder = folder
        self.config = folder / "berlin.toml"
        self.url = f"http://{place.address}:{PORT + (0 if place.command else number)}"
        self.said: list[str] = []
        self.killed_at: list[float] = []
        self.without_store_at: list[float] = []
        self._place = place
        self._workers = workers
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until all its workers serve."""
        port = self.url.rpartition(":")[2]
        self._process = await asyncio.create_subprocess_exec(
            *self._place.command,
            *(sys.executable, "-m", "berlin", "serve", "--host", self._place.address),
            *("--port", port, "--workers", str(self._workers), "--config", str(self.config)),
            env=self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reading = asyncio.create_task(self._read())
        async with asyncio.timeout(READY_S):
            while not any("serving on" in line for line in self.said):
                if self._process.returncode is not None:
                    raise SystemExit(f"host {self.number} ended: {''.join(self.said)}")
                await asyncio.sleep(0.05)

    @property
    def parent(self) -> int:
        """The process id of the parent of the workers."""
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        path = Path(f"/proc/{self.parent}/task/{self.parent}/children")
        with contextlib.suppress(OSError):
            return [int(word) for word in path.read_text().split()]
        return []

    def kill_worker(self) -> None:
        """Kill a worker."""
        if workers := self.workers():
            self.killed_at.append(time.monotonic())
            os.kill(workers[len(self.killed_at) % len(workers)], signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        os.kill(self.parent, number)

    def sizes(self) -> list[tuple[int, int]]:
        """Return the descriptors and the memory in KiB of each worker."""
        found = []
        for pid in self.workers():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                [line] = [each for each in status.splitlines() if each.startswith("VmRSS:")]
                found.append((len(os.listdir(f"/proc/{pid}/fd")), int(line.split()[1])))
        return found

    async def stop(self) -> int | None:
        """Stop it in order, and return the exit code."""
        if self._process is None or self._reading is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 60)
        if self._process.returncode is None:
            self._process.kill()
        await self._reading
        return await self._process.wait()

    async def _read(self) -> None:
        assert self._process is not None
        while line := await reader(self._process.stderr).readline():
            self.said.append(line.decode("utf-8", "replace"))
            if "tokens.store_failed" in self.said[-1]:
                self.without_store_at.append(time.monotonic())
