"""Many requests over all faces, a quarter of whose clients leave at a random moment: `make soak`.

The gateway is a process of its own, before a real service behind a login and a scripted one. What
it holds afterwards must be what it held before.

    python tests/soak.py [REQUESTS [SEED]]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.chat_service import ChatService, Piece, Request
from support.cli import reader
from support.gateway import BERLIN, DIALECTS, At, Dialect

AT_ONCE = 48
LEAVES = 0.25
GROWTH_KIB = 20 * 1024
# Connections to services that nobody uses are closed after a quarter of a minute.
SETTLES_S = 40.0
PROGRAM = Path(__file__).parent / "support" / "soak_gateway.py"

CONFIG = """
[server]
access_log = "{log}"
[providers.house]
url = "{url}"
account = "account"
password = "password"
models = ["m1"]
model = "m1"
"""


@dataclass
class Report:
    """What came of a soak.

    Attributes:
        seed: what makes it happen again.
        counts: how the requests ended.
        problems: what is wrong; nothing if all is well.
        before: what the gateway held at first.
        after: what it held at the end.
        growth_kib: of its memory, after the warm-up.
        seconds: how long it took.
    """

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    growth_kib: int = 0
    seconds: float = 0.0


class Gateway:
    """The process under test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def state(self) -> dict[str, int]:
        """Return what it holds now."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        async with asyncio.timeout(30):
            told: dict[str, int] = json.loads(await reader(self._process.stdout).readline())
        return told

    async def end(self) -> tuple[int | None, str]:
        """End it, and return its exit code and all that it said on stderr."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(30):
            said = (await reader(self._process.stderr).read()).decode()
            return await self._process.wait(), said


@asynccontextmanager
async def _gateway(config: Path) -> AsyncIterator[tuple[Gateway, str]]:
    paths = os.pathsep.join([str(PROGRAM.parents[1]), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), str(config)),
        env={**os.environ, "PYTHONPATH": paths},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            url = (await reader(process.stdout).readline()).decode().strip()
        assert url, (await reader(process.stderr).read()).decode()
        yield Gateway(process), url
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


def _echo(request: Request) -> list[Piece]:
    """Return what the service behind the login says: the prompt, word by word."""
    return [piece for word in request.json["prompt"].split(" ") for piece in (0.002, f"{word} ")]


class _Clients:
    """Clients of all faces."""

    def __init__(self, at: At, chance: random.Random, report: Report) -> None:
        self._at = at
        self._chance = chance
        self._report = report
        self._serial = 0

    async def ask_many(self, count: int) -> None:
        """Ask so many times, some at once."""
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await self._ask_once()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _ask_once(self) -> None:
        chance = self._chance
        self._serial += 1
        dialect = chance.choice(DIALECTS)
        words = " ".join(f"word-{self._serial}-{n}" for n in range(chance.randint(1, 12)))
        model = chance.choice(("house:m1", "scripted:m1"))
        stream = dialect is BERLIN or chance.random() < 0.7
        body = dialect.body(words, model, stream)
        if dialect is BERLIN:
            body["options"]["model"] = model
        try:
            async with asyncio.timeout(30):
                if chance.random() < LEAVES:
                    await self._leave(dialect, body)
                else:
                    await self._stay(dialect, body, words)
        except (OSError, TimeoutError, AssertionError, aiohttp.ClientError) as error:
            self._wrong(f"{dialect} {model}: {error!r}")

    async def _stay(self, dialect: Dialect, body: dict[str, Any], words: str) -> None:
        got = await self._at.post(dialect, body)
        self._report.counts[f"{got.status}"] += 1
        if got.status != 200:
            self._wrong(f"{dialect}: {got.status} {got.data[:200]!r}")
        elif got.text != f"{words} ":
            self._wrong(f"{dialect}: {got.text!r} instead of {words!r}")

    async def _leave(self, dialect: Dialect, body: dict[str, Any]) -> None:
        """Leave before the request is sent, before an answer comes, or in the midst of it."""
        data = await self._at.head(dialect, json.dumps(body).encode())
        how = self._chance.choice(
            ("in the head", "in the body", "at once", "soon", "in the answer")
        )
        self._report.counts[f"left {how}"] += 1
        async with self._at.connection() as (got, writer):
            match how:
                case "in the head":
                    writer.write(data[: self._chance.randrange(data.index(b"\r\n\r\n"))])
                case "in the body":
                    writer.write(data[: -self._chance.randint(1, 20)])
                case "at once":
                    writer.write(data)
                case "soon":
                    writer.write(data)
                    await asyncio.sleep(self._chance.random() * 0.03)
                case _:
                    writer.write(data)
                    await got.read(self._chance.randint(1, 600))
            await asyncio.sleep(0)
            if self._chance.random() < 0.5:  # by FIN; otherwise by RST, with what was not sent
                writer.close()

    def _wrong(self, what: str) -> None:
        self._report.counts["wrong"] += 1
        if len(self._report.problems) < 20:
            self._report.problems.append(what)


async def soak(requests: int, warm_up: int, seed: int, folder: Path) -> Report:
    """Ask that many times, and return what came of it."""
    began = time.monotonic()
    report = Report(seed)
    config, log = folder / "berlin.toml", folder / "access.log"
    async with ChatService() as house:
        house.pieces = _echo
        config.write_text(CONFIG.format(url=house.url, log=log))
        async with _gateway(config) as (gateway, url):
            report.before = await gateway.state()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                at = At(url, session, None)  # it is another process
                await at.headers(BERLIN)
                clients = _Clients(at, random.Random(seed), report)
                await clients.ask_many(warm_up)
                warm = await gateway.state()
                await clients.ask_many(requests)
            await _settle(gateway, house, report)
            report.growth_kib = report.after["resident_kib"] - warm["resident_kib"]
            code, said = await gateway.end()
        report.problems += house.violations[:3]
        if house.login_count != {"account": 1}:
            report.problems.append(f"{house.login_count['account']} logins instead of 1")
    if report.growth_kib > GROWTH_KIB:
        report.problems.append(f"{report.growth_kib} KiB more than after the warm-up")
    if code != 0 or said:
        report.problems.append(f"exit code {code}, and it said: {said[:2000]!r}")
    _check_log(log, report)
    report.seconds = time.monotonic() - began
    return report


async def _settle(gateway: Gateway, house: ChatService, report: Report) -> None:
    """Wait until the gateway holds what it held at first."""
    end = time.monotonic() + SETTLES_S
    names = ("descriptors", "tasks", "open_answers")
    while True:
        report.after = await gateway.state()
        more = [name for name in names if report.after[name] > report.before[name]]
        if not more and not house.open:
            return
        if time.monotonic() > end:
            told = ", ".join(f"{name} {report.after[name]}" for name in more)
            first = ", ".join(f"{name} {report.before[name]}" for name in more)
            report.problems.append(
                f"{told} instead of {first}; {house.open} connections to the service"
            )
            return
        await asyncio.sleep(0.1)


def _check_log(log: Path, report: Report) -> None:
    """Look for outcomes that no client and no service has caused."""
    outcomes: Counter[tuple[str, int]] = Counter()
    for line in log.read_bytes().splitlines():
        entry = json.loads(line)
        outcomes[entry["outcome"], entry["status"]] += 1
    good = {("ok", 200), ("client_left", 200), ("client_left", 0)}
    report.problems += [f"in the log: {odd} {outcomes[odd]} times" for odd in set(outcomes) - good]
    if outcomes["ok", 200] < report.counts["200"]:
        report.problems.append(f"{outcomes} in the log, and {report.counts['200']} good answers")


async def main(requests: int, seed: int) -> int:
    """Run a soak, print its report, and return the exit code."""
    # The service, which is in this process, would tell of each connection that is cut.
    logging.getLogger("aiohttp.server").disabled = True
    print(f"{requests} requests, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = await soak(requests, max(requests // 10, 500), seed, Path(folder))
    for name, count in sorted(report.counts.items()):
        print(f"  {name:20}{count:8}")
    print(f"before: {report.before}\nafter:  {report.after}")
    print(f"memory grew by {report.growth_kib} KiB in {report.seconds:.0f} s")
    for problem in report.problems:
        print(f"FAIL: {problem}")
    print("FAIL" if report.problems else "pass")
    return 1 if report.problems else 0


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:3]]
    many = given[0] if given else 20_000
    chosen = given[1] if len(given) > 1 else random.SystemRandom().randrange(2**32)
    sys.exit(asyncio.run(main(many, chosen)))
