"""Two hosts on real engines: load, attack, comparison.

    python -m fleet.run

Variables: `FLEET` is the number of requests (3,000), `FLEET_WORKERS` the workers of each host (4),
`FLEET_SEED` what makes a run happen again. It prints a line for each invariant, and ends with 1 if
one does not hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from fleet.checks import Evidence, Finding, Row, check, tokens
from fleet.clients import Clients
from fleet.host import Host
from fleet.network import Network, open_network
from fleet.service import Service
from support.postgres import Postgres
from support.token_processes import Redis

HOSTS = 2
KEYS = 16
RATE = 40
BUDGET = 2_000
RELOADS = 50
REDIS_PAUSE_S = 4.0
POSTGRES_AWAY_S = 20.0
CLOCK_JUMP_S = 3600
SETTLES_S = 60.0

CONFIG = """
[server]
allowed_hosts = ["{address}"]
[tokens]
store = "{redis}"
key = "a key for the fleet only"
[shared]
redis = "{redis}"
on_failure = "refuse"
[ledger]
url = "{postgres}"
journal = "{journal}"
[providers.house]
url = "{service}"
account = "account"
password = "password"
allow_http = true
models = ["m1"]
model = "m1"
at_once = 400
"""


class Fleet:
    """All parts of a run."""

    def __init__(self, folder: Path, network: Network, requests: int, workers: int, seed: int):
        self.folder = folder
        self.requests = requests
        self.evidence = Evidence(began_at=time.monotonic())
        self._network = network
        self._chance = random.Random(seed)
        self._redis = Redis(folder / "redis", network.middle)
        self._postgres = Postgres(folder / "postgres", network.middle)
        self._database = ""
        self._environ = {
            **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        self._clock = _build_clock(folder)
        self.evidence.hosts = [
            Host(number, place, folder / f"host{number}", workers, self._environment(number))
            for number, place in enumerate(network.places)
        ]
        self._keys: dict[str, str] = {}

    async def run(self) -> list[Finding]:
        """Run everything, and return the findings."""
        evidence = self.evidence
        async with Service() as service:
            if self._network.middle != "127.0.0.1":
                await service.listen(self._network.middle)
            try:
                await self._redis.start()
                await asyncio.to_thread(self._postgres.create)
                await asyncio.to_thread(self._postgres.start)
                self._database = self._postgres.new_database()
                await self._prepare(service)
                await asyncio.gather(*(host.start() for host in evidence.hosts))
                say("all workers serve; warm-up")
                await self._load(max(self.requests // 10, 300), attack=False)
                evidence.sizes_before = self._sizes()
                say("load and attack")
                await self._load(self.requests, attack=True)
                await self._settle(service)
            finally:
                evidence.codes = [await host.stop() for host in evidence.hosts]
                evidence.seen, evidence.logins = service.log, service.logged_in_at
            await self._read_ledger()
        return check(evidence)

    async def close(self) -> None:
        """End the engines."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._postgres.stop()
        await self._redis.stop()

    def _environment(self, number: int) -> dict[str, str]:
        if self._clock is None or number != HOSTS - 1:
            return self._environ
        library, offset = self._clock
        return {**self._environ, "LD_PRELOAD": str(library), "FLEET_CLOCK": str(offset)}

    async def _prepare(self, service: Service) -> None:
        for host, place in zip(self.evidence.hosts, self._network.places, strict=True):
            host.config.write_text(
                CONFIG.format(
                    address=place.address,
                    redis=self._redis.url,
                    postgres=self._database,
                    journal=host.folder / "journal",
                    service=service.url,
                )
            )
            host.config.chmod(0o600)
        config = str(self.evidence.hosts[0].config)
        await self._berlin("ledger", "upgrade", "--config", config)
        for number in range(KEYS):
            name = f"key{number}"
            limit = {0: ("--rpm", str(RATE)), 1: ("--limit", f"{BUDGET} tokens/day")}.get(
                number, ()
            )
            self._keys[name] = (await self._berlin("key", "add", name, *limit)).strip()
        self.evidence.rates = {"key0": RATE}
        self.evidence.budgets = {"key1": BUDGET}

    async def _berlin(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "berlin", *words),
            env=self._environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode:
            raise SystemExit(f"berlin {' '.join(words)}: {err.decode()}")
        return out.decode()

    async def _load(self, count: int, *, attack: bool) -> None:
        clients = Clients(self.evidence.hosts, self._keys, count, self._chance)
        scraping = asyncio.create_task(self._scrape())
        attacking = asyncio.create_task(self._attack(clients)) if attack else None
        try:
            await clients.run(lambda: attacking is None or attacking.done())
            if attacking is not None:
                await attacking
        finally:
            scraping.cancel()
        self.evidence.outcomes += clients.outcomes

    async def _attack(self, clients: Clients) -> None:
        hosts = self.evidence.hosts
        steps: list[tuple[float, str, Callable[[], Awaitable[None]]]] = [
            (0.05, "a worker is killed", lambda: _now(hosts[0].kill_worker)),
            (0.10, f"the configuration is reloaded {RELOADS} times", self._reload),
            (0.20, "Redis is paused", self._pause_redis),
            (0.35, "a worker of each host is killed", self._kill_one_of_each),
            (0.40, "PostgreSQL is stopped", self._stop_postgres),
            (0.55, "Redis is restarted, empty", self._restart_redis),
            (0.65, "a worker is killed", lambda: _now(hosts[1].kill_worker)),
            (0.70, "the clock of a host is moved", self._move_clock),
            (0.80, "a host is restarted, worker by worker", self._roll),
            (0.90, "two workers of a host are killed", self._kill_two),
        ]
        for share, what, act in steps:
            while clients.share_done < share:
                await asyncio.sleep(0.05)
            say(f"{clients.share_done:4.0%} {what}")
            await act()

    async def _reload(self) -> None:
        for number in range(RELOADS):
            for host in self.evidence.hosts:
                text = host.config.read_text().partition("[aliases]")[0]
                host.config.write_text(f'{text}[aliases]\nr{number} = "house"\n')
                host.send(signal.SIGHUP)
            await asyncio.sleep(0.1)

    async def _pause_redis(self) -> None:
        start = time.monotonic()
        self._redis.pause()
        await asyncio.sleep(REDIS_PAUSE_S)
        self._redis.resume()
        self.evidence.outages.append((start, time.monotonic()))

    async def _restart_redis(self) -> None:
        start = time.monotonic()
        await self._redis.stop()
        await asyncio.sleep(1)
        await self._redis.start()
        self.evidence.outages.append((start, time.monotonic()))

    async def _stop_postgres(self) -> None:
        await asyncio.to_thread(self._postgres.stop)
        await asyncio.sleep(POSTGRES_AWAY_S)
        await asyncio.to_thread(self._postgres.start)

    async def _kill_one_of_each(self) -> None:
        for host in self.evidence.hosts:
            host.kill_worker()

    async def _kill_two(self) -> None:
        for _ in range(2):
            self.evidence.hosts[0].kill_worker()
            await asyncio.sleep(0.5)

    async def _move_clock(self) -> None:
        if self._clock is None:
            say("     (not tried: there is no C compiler)")
            return
        for offset in (CLOCK_JUMP_S, -CLOCK_JUMP_S, 0):
            with self._clock[1].open("r+b") as file:  # in place: the processes have mapped it
                file.write(struct.pack("@l", offset))
            await asyncio.sleep(1)

    async def _roll(self) -> None:
        host = self.evidence.hosts[1]
        before = sum("serving on" in line for line in host.said)
        host.send(signal.SIGUSR2)
        async with asyncio.timeout(120):
            while sum("serving on" in line for line in host.said) == before:
                await asyncio.sleep(0.1)

    async def _scrape(self) -> None:
        headers = {"Authorization": f"Bearer {self._keys['key2']}"}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while True:
                for host in self.evidence.hosts:
                    try:
                        async with session.get(f"{host.url}/metrics", headers=headers) as answer:
                            page = await answer.text()
                    except (OSError, TimeoutError, aiohttp.ClientError):
                        continue
                    if answer.status == 200:
                        found = re.findall(r"^berlin_requests_total\{.*\} (\S+)$", page, re.M)
                        values = self.evidence.scrapes.setdefault(host.number, [])
                        values.append(sum(map(float, found)))
                await asyncio.sleep(0.5)

    async def _settle(self, service: Service) -> None:
        """Wait until connections are closed, and the rows of killed workers are delivered."""
        end = time.monotonic() + SETTLES_S
        while time.monotonic() < end:
            self.evidence.sizes_after = self._sizes()
            await asyncio.sleep(1)
            await self._read_ledger()
            missing = {seen.id for seen in service.log} - {row.id for row in self.evidence.rows}
            grown = [each for each in check(self.evidence) if "growth" in each.name]
            if not missing and all(finding.holds for finding in grown):
                return

    def _sizes(self) -> list[tuple[int, int]]:
        return [size for host in self.evidence.hosts for size in host.sizes()]

    async def _read_ledger(self) -> None:
        names = {id: name for name, id in (await self._key_ids()).items()}
        lines = await asyncio.to_thread(
            self._postgres.query,
            'SELECT id, outcome, attempts, "key", '
            "coalesce(input_tokens, 0) + coalesce(output_tokens, 0) "
            "FROM berlin_requests",
            self._database,
        )
        self.evidence.rows = [
            Row(id, outcome, tokens(attempts), names.get(key, key), tokens(used))
            for id, outcome, attempts, key, used in (line.split("|") for line in lines)
        ]

    async def _key_ids(self) -> dict[str, str]:
        listed = (await self._berlin("key", "list")).splitlines()[1:]
        return {line.split()[1]: line.split()[0] for line in listed}


async def _now(act: Callable[[], None]) -> None:
    act()


def _build_clock(folder: Path) -> tuple[Path, Path] | None:
    """Return the library that moves a clock and the file it reads; `None` without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library, offset = folder / "clock.so", folder / "clock"
    source = Path(__file__).with_name("clock.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    offset.write_bytes(struct.pack("@l", 0))
    return library, offset


def say(line: str) -> None:
    """Print a line."""
    print(line, flush=True)


async def main() -> int:
    """Run the fleet, print its findings, and return the exit code."""
    task = asyncio.current_task()
    assert task is not None
    # Everything that was started ends, also when somebody loses patience.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    logging.getLogger("aiohttp.server").disabled = True
    requests, workers = (
        int(os.environ.get("FLEET", "3000")),
        int(os.environ.get("FLEET_WORKERS", 4)),
    )
    seed = int(os.environ.get("FLEET_SEED", random.SystemRandom().randrange(2**32)))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, open_network(HOSTS) as network:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        say(f"{requests} requests to {HOSTS} hosts ({network.kind}) x {workers}, seed {seed}")
        fleet = Fleet(folder, network, requests, workers, seed)
        findings: list[Finding] = []
        try:
            findings = await fleet.run()
        finally:
            await fleet.close()
            if not findings or not all(finding.holds for finding in findings):
                for host in fleet.evidence.hosts:
                    said = [line for line in host.said if "config.loaded" not in line]
                    say(f"--- host {host.number}\n{''.join(said[-40:])}")
    for finding in findings:
        say(f"{'pass' if finding.holds else 'FAIL'}  {finding.name} ({finding.figures})")
        for example in finding.examples:
            say(f"        {example}")
    say(f"{time.monotonic() - began:.0f} s")
    return 0 if all(finding.holds for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
