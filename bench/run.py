"""Measures Berlin beside a limit and beside its peers, and writes docs/performance.md.

    python bench/run.py [--without-peers] [--print] [clients] [gateways] [workers] [open] [starts]

Whatever is compared is measured in one run, in turn; every answer's text is checked.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import of_clients
import of_gateways
import of_open
import of_starts
import of_workers

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
SECTIONS = {
    "clients": ("## Figures of the client", of_clients.measure),
    "gateways": ("## Figures of the gateway", of_gateways.measure),
    "workers": ("## Figures of workers", of_workers.measure),
    "open": ("## Figures of open streams", of_open.measure),
    "starts": ("## Figures of the start", of_starts.measure),
}
BEGIN, END = "<!-- {name}: written by make bench -->", "<!-- {name}: end -->"


def main(arguments: list[str]) -> int:
    """Measure what is asked for, all of it unless said; return how many targets are missed."""
    flags = {given for given in arguments if given.startswith("--")}
    wanted = [given for given in arguments if given not in flags] or list(SECTIONS)
    unknown = flags - {"--without-peers", "--print"} or set(wanted) - SECTIONS.keys()
    if unknown:
        print(f"{', '.join(unknown)}? {__doc__}", file=sys.stderr)
        return 2
    if "open" in wanted:
        of_open.streams_possible()  # rather than after the other sections
    missed = 0
    for name in wanted:
        title, measure = SECTIONS[name]
        began = time.monotonic()
        text, met = measure("--without-peers" not in flags)
        text = f"{title}\n\n{_machine()}\n\n{text}\n"
        print(f"{text}\n({time.monotonic() - began:.0f} s)\n", flush=True)
        missed += sum(not target.met for target in met)
        if "--print" not in flags:
            _write(name, text)
    print(f"{missed} targets missed")
    return 0


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "msgspec", "uvloop"))
    return (
        f"{time.strftime('%Y-%m-%d')}, {model}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {libraries}. Medians of rounds in turn; in "
        "parentheses the ratio to the first row of its kind, taken round by round."
    )


def _write(name: str, text: str) -> None:
    page = PAGE.read_text("utf-8")
    begin, end = BEGIN.format(name=name), END.format(name=name)
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    if not rest or not tail:
        raise SystemExit(f"{PAGE.name} has no place for {name}: {begin} … {end}")
    PAGE.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", "utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
