"""The real Redis and the real PostgreSQL of the fleet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from support.ports import free_port

READY_S = 30.0
POSTGRES = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
}


class Redis:
    """A Redis without persistence.

    Args:
        folder: where it runs.
        address: what it listens on.
    """

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._address = address
        self.port = free_port(address)
        self.url = f"redis://{address}:{self.port}/0"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it empty, and wait until it answers."""
        words = ("--port", str(self.port), "--bind", self._address, "--protected-mode", "no")
        self._process = await asyncio.create_subprocess_exec(
            *("redis-server", *words, "--save", "", "--appendonly", "no"),
            *("--dir", str(self._folder)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(READY_S):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(self._address, self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Kill it; what it held is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Postgres:
    """A PostgreSQL, run by a user without rights.

    Args:
        folder: where it runs.
        address: what it listens on.
    """

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir(mode=0o755)
        self._folder = folder
        self._address = address
        self._programs = _programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self.port = free_port(address)
        self.url = f"postgresql://berlin@{address}:{self.port}/berlin"

    async def create(self) -> None:
        """Create the cluster and its database, and start it."""
        await self._run("initdb", "-U", "berlin", "-A", "trust", "--no-sync", "--locale=C")
        allowed = self._folder / "data" / "pg_hba.conf"
        with allowed.open("a") as file:
            file.write("host all all 10.77.0.0/24 trust\n")
        await self.start()
        await self.query("CREATE DATABASE berlin", "postgres")

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {**POSTGRES, "listen_addresses": self._address}
        options = f"-p {self.port} -k {self._folder} " + " ".join(
            f"-c {name}={value}" for name, value in settings.items()
        )
        await self._run(
            "pg_ctl", "-w", "-t", "30", "-l", f"{self._folder}/log", "-o", options, "start"
        )

    async def kill(self) -> None:
        """Stop it as a crash does."""
        await self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    async def query(self, sql: str, database: str = "berlin") -> list[list[str]]:
        """Run a statement, and return its rows."""
        words = [
            *(str(self._programs / "psql"), "-X", "-h", str(self._folder), "-p", str(self.port)),
            *("-U", "berlin", "-d", database, "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1"),
            *("-c", sql),
        ]
        done = await asyncio.to_thread(
            subprocess.run, words, check=True, capture_output=True, text=True, timeout=60
        )
        return [line.split("\t") for line in done.stdout.splitlines()]

    async def _run(self, program: str, *arguments: str) -> None:
        await asyncio.to_thread(
            subprocess.run,
            [str(self._programs / program), "-D", f"{self._folder}/data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
            timeout=60,
        )


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    where = str(found[-1]) if found else shutil.which("postgres")
    if where is None:
        raise SystemExit("make fleet needs PostgreSQL: apt-get install postgresql")
    return Path(where).parent
