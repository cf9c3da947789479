"""The name of a process among those that count together."""

from __future__ import annotations

import os

from berlin.routing.counters.owner import process


def test_a_fork_has_a_name_of_its_own() -> None:
    """Workers are forks: under their parent's name their first requests would count as one."""
    reading, writing = os.pipe()
    mine = process.reservation()
    pid = os.fork()
    if pid == 0:
        os.write(writing, f"{process.name} {process.reservation()}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    name, theirs = os.read(reading, 1000).decode().split()
    os.close(reading)
    assert name != process.name
    assert theirs.startswith(name)
    assert mine != theirs
    assert mine.startswith(process.name)
