"""Workers: one gateway of 1, 2 and more processes, as many as there are cores."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from of_gateways import SHORT, Gateways, ask_load
from process import BESIDE, HERE, Program, open_service
from table import Rounds, Target, at_least, targets

ROUNDS = 5
STREAMS, CLIENTS = 2_000, 64
# The service and the clients need cores too; with fewer the ratio says nothing about workers.
CORES_FOR_TARGET = 4


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets; there are no peers."""
    del with_peers
    cores = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8) if count <= max(cores, 2)]
    rounds, memory = Rounds(), {}
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        service, url = open_service()
        stack.enter_context(service)
        load = stack.enter_context(Program([sys.executable, str(HERE / "load.py")], BESIDE))
        every = Gateways(stack, Path(folder), url, service)
        known = {
            _name(count): every.berlin(f"workers{count}", full=False, workers=count)
            for count in counts
        }
        time.sleep(1)
        for number in range(ROUNDS + 1):
            for name, gateway in known.items():
                before = gateway.program.cpu_s()
                got = ask_load(load, gateway, SHORT, STREAMS, CLIENTS)
                cpu = gateway.program.cpu_s() - before
                firsts = sorted(got["firsts"])
                if number:
                    rounds.add(
                        name,
                        {
                            "streams": STREAMS / got["wall"],
                            "cpu": cpu / STREAMS * 1e6,
                            "first": firsts[len(firsts) // 2] * 1e3,
                        },
                    )
        memory = {name: gateway.program.shared_mb() for name, gateway in known.items()}
    table = rounds.table(
        {
            "streams": ("streams/s", "{:,.0f}".format),
            "cpu": ("CPU µs a stream", "{:,.0f}".format),
            "first": ("first event p50, ms", "{:.1f}".format),
        },
        _name(1),
    )
    each = ", ".join(f"{name}: {value:.0f} MB" for name, value in memory.items())
    met: list[Target] = []
    note = f"With {cores} cores nothing can be said about how workers scale."
    if cores >= CORES_FOR_TARGET:
        ratio = rounds.ratio(_name(2), _name(1), "streams")
        met.append(at_least("two workers / one, streams/s", 1.8, ratio))
        note = targets(met)
    text = (
        "Short streams: 16 pieces at once, 64 clients. Service and clients share the machine with "
        f"the workers.\n\n{table}\n\nMemory after it, with the parent, shared pages once: {each}."
        f"\n\n{note}"
    )
    return text, met


def _name(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
