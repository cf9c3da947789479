"""A PostgreSQL of the tests' own, which can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ports import free_port

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "max_wal_senders": "0",
    "wal_level": "minimal",
}


class Postgres:
    """A cluster in a folder, run by a user without rights.

    Args:
        folder: where the cluster is; it is created if it is missing.
        address: what it listens on.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1") -> None:
        self._programs = _find_programs()
        self._folder = folder
        self._address = address
        folder.mkdir(exist_ok=True)
        self.port = free_port(address)
        self._count = 0
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)

    def create(self) -> None:
        """Create the cluster."""
        self._run("initdb", "-U", "berlin", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        with (self._folder / "data" / "pg_hba.conf").open("a") as allowed:
            allowed.write(f"host all all {self._address}/24 trust\n")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-p {self.port} -k {self._folder} " + " ".join(
            f"-c {name}={value}"
            for name, value in {**SETTINGS, "listen_addresses": self._address}.items()
        )
        self._run("pg_ctl", "-w", "-t", "30", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """Stop the server as a crash does: connections are cut, nothing is finished."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    @contextmanager
    def ended_with_this_process(self) -> Iterator[None]:
        """Stop the server and remove its files if this process is killed during the block."""
        program = 'read -r _ || { "$0" -D "$1/data" -m immediate stop; rm -rf "$1"; }'
        guard = subprocess.Popen(
            ["sh", "-c", program, str(self._programs / "pg_ctl"), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd="/",
            start_new_session=True,
        )
        try:
            yield
        finally:
            guard.communicate(b"done\n", timeout=30)

    def new_database(self) -> str:
        """Create an empty database, and return its URL."""
        self._count += 1
        name = f"d{os.getpid()}_{self._count}"
        self.query(f"CREATE DATABASE {name}")
        return f"postgresql://berlin@{self._address}:{self.port}/{name}"

    def query(self, sql: str, database: str = "postgres") -> list[str]:
        """Run a statement, and return the lines of its answer."""
        database = database.rpartition("/")[2]
        words = [
            *(str(self._programs / "psql"), "-X", "-h", str(self._folder), "-p", str(self.port)),
            *("-U", "berlin", "-d", database, "-At", "-v", "ON_ERROR_STOP=1", "-c", sql),
        ]
        return subprocess.run(
            words, check=True, capture_output=True, text=True, timeout=30
        ).stdout.splitlines()

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), "-D", f"{self._folder}/data", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
            timeout=60,
        )


def _find_programs() -> Path:
    """Return the folder of the programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise RuntimeError("PostgreSQL is missing: run `sh tests/system_packages.sh`")
    return (found[-1] if found else Path(str(on_path)).resolve()).parent


@contextmanager
def postgres_cluster() -> Iterator[Postgres]:
    """Run a cluster, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="berlin-pg-") as folder:
        cluster = Postgres(Path(folder))
        cluster.create()
        cluster.start()
        with cluster.ended_with_this_process():
            try:
                yield cluster
            finally:
                cluster.stop()
