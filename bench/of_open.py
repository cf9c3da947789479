"""Open streams: as many as `BENCH_STREAMS` says (10,000), at one process on one core; fewer where
the machine allows a process fewer open files.

Each piece comes at a time that is known, so what a piece is late is the delay that the gateway, the
service and the clients add together; the bare relay shows how much of it is not the gateway's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from of_gateways import BARE, OFF, ON, OPEN, SHORT, Gateway, Gateways, ask_load
from process import BESIDE, HERE, Program, open_service
from table import Rounds, Target, at_most, targets

STREAMS = 10_000
# Connections are opened over this time, so that none waits for another.
RAMP_S = 12.0
INTERVAL_S, PIECES = int(OPEN.split("/")[1]) / 1000, int(OPEN.split("/")[2])
# A stream has two connections in the gateway; the rest is its own files.
OWN_FILES = 200


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets; there are no peers."""
    del with_peers
    streams = streams_possible()
    rounds = Rounds()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        service, url = open_service()
        stack.enter_context(service)
        load = stack.enter_context(Program([sys.executable, str(HERE / "load.py")], BESIDE))
        every = Gateways(stack, Path(folder), url, service)
        for name, gateway in {
            BARE: every.relay("bare.py"),
            OFF: every.berlin("off", full=False),
            ON: every.berlin("on", full=True),
        }.items():
            rounds.add(name, _measure(load, gateway, streams))
    table = rounds.table(
        {
            "memory": ("KB a stream", "{:.1f}".format),
            "cpu": ("CPU µs a piece", "{:.1f}".format),
            "p50": ("delay p50, ms", "{:.1f}".format),
            "p99": ("delay p99, ms", "{:.1f}".format),
        },
        BARE,
    )
    met = [
        at_most("memory of an open stream", 25, rounds.median(OFF, "memory"), " KB"),
        at_most("CPU a piece / bare relay", 1.3, rounds.ratio(OFF, BARE, "cpu")),
        at_most("all on / off, CPU a piece", 1.2, rounds.ratio(ON, OFF, "cpu")),
    ]
    files = 2 * streams + OWN_FILES
    fewer = "" if streams >= STREAMS else f" (as many as {files:,} open files allow)"
    text = (
        f"{streams:,} streams at the same time{fewer} at one process on one core, one piece every "
        "two seconds in each. Service and clients share the other core. The CPU of a piece has "
        f"in it a {PIECES}th of the beginning of its stream. The delay of a piece is against the "
        f"earliest of its stream.\n\n{table}\n\n{targets(met)}"
    )
    return text, met


def _measure(load: Program, gateway: Gateway, streams: int) -> dict[str, float]:
    # What is kept after the first streams belongs to the process, not to a stream.
    ask_load(load, gateway, SHORT, 500, 20)
    idle, cpu = gateway.program.memory_mb(), gateway.program.cpu_s()
    with _most_memory(gateway.program) as most:
        got = ask_load(load, gateway, OPEN, streams, streams, ramp_s=RAMP_S, interval_s=INTERVAL_S)
    delays = sorted(got["delays"])
    return {
        "memory": (most[0] - idle) * 1000 / streams,
        "cpu": (gateway.program.cpu_s() - cpu) / (streams * PIECES) * 1e6,
        "p50": delays[len(delays) // 2] * 1e3,
        "p99": delays[int(len(delays) * 0.99)] * 1e3,
    }


@contextmanager
def _most_memory(program: Program) -> Iterator[list[float]]:
    """Give the most memory that a program has during the block, in a list of one."""
    most, ended = [program.memory_mb()], threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            most[0] = max(most[0], program.memory_mb())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def streams_possible() -> int:
    """Return how many streams are measured: as many as asked for, or as the machine allows.

    The limit of open files is raised for the programs that follow.

    Raises:
        SystemExit: if more are asked for than the machine allows.
    """
    asked = int(os.environ.get("BENCH_STREAMS", "0"))
    needed = 2 * (asked or STREAMS) + OWN_FILES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard:
        with contextlib.suppress(ValueError, OSError):  # only root may
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
            hard = needed
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = (hard - OWN_FILES) // 2
    if asked > most:
        raise SystemExit(
            f"{asked:,} open streams need {needed:,} open files in one process, and the limit is "
            f"{hard:,} (ulimit -Hn): raise it, or set BENCH_STREAMS={most}"
        )
    return asked or min(STREAMS, most)
