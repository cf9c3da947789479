"""The start: of an import, of a command, of a conversation."""

from __future__ import annotations

import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time

from process import MEASURED, pinned
from table import Target, at_most, targets

RUNS = 9
PATIENCE_S = 10.0
PROMPT = b"\x1b[0m>"  # as the line editor draws it
CONVERSATION = [sys.executable, "-m", "berlin", "chat"]


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets."""
    imports: dict[str, list[float]] = {"aiohttp": [], "berlin": [], "class": []}
    codes = {
        "aiohttp": "import aiohttp",
        "berlin": "import berlin",
        "class": "from berlin import Berlin",
    }
    for _ in range(RUNS):
        for name, code in codes.items():
            imports[name].append(_cpu_s([sys.executable, "-c", code]))
    empty = statistics.median(_cpu_s([sys.executable, "-c", "pass"]) for _ in range(RUNS))
    own = {name: statistics.median(values) - empty for name, values in imports.items()}
    version = statistics.median(_wall_s("--version") for _ in range(RUNS))
    prompt = statistics.median(_first_prompt_s() for _ in range(RUNS))
    met = [
        at_most("CPU of `import berlin` / `import aiohttp`", 1.25, own["berlin"] / own["aiohttp"]),
        at_most(
            "CPU of `from berlin import Berlin` / `import aiohttp`",
            1.25,
            own["class"] / own["aiohttp"],
        ),
        at_most("`berlin --version`", 0.1, version, " s"),
        at_most("first prompt of `berlin chat`", 0.4, prompt, " s"),
    ]
    return targets(met), met


def _cpu_s(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*pinned(MEASURED), *command], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _wall_s(*arguments: str) -> float:
    command = [sys.executable, "-m", "berlin", *arguments]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _first_prompt_s() -> float:
    """Return the seconds until a conversation on a terminal shows where to type."""
    with tempfile.TemporaryDirectory() as home:
        began = time.perf_counter()
        pid, terminal = pty.fork()
        if pid == 0:
            names = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
            os.environ.update(dict.fromkeys(names, home), TERM="xterm")
            os.environ.pop("BERLIN_URL", None)
            os.execv(sys.executable, CONVERSATION)
        seen = b""
        try:
            while PROMPT not in seen:
                if not select.select([terminal], [], [], PATIENCE_S)[0]:
                    raise TimeoutError(f"no prompt, but {seen[-300:]!r}")
                seen += os.read(terminal, 4096)
            return time.perf_counter() - began
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(terminal)
