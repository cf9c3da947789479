"""A gateway under siege: everything that goes wrong, at once, and a client that gets its answers.

    python tests/siege.py [requests]

Without a key: made-up logins, huge logins, heads without an end, wrong keys. With another key:
endless answers, streamed and whole, of which nothing is read. By bad luck: a configuration that is
written in place again and again, empty in between, and an access log on a full disk. Meanwhile a
client with a key asks, and each answer has to be its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from aiohttp import web

from support.cli import Cli
from support.face import LOGIN
from support.gateway import LAST_FRAME, OPENAI, At, frame
from support.playing import running
from support.serving import described, serving

AT_ONCE = 4
KINDS = ("logins", "large logins", "heads", "wrong keys", "slow readers", "endless", "reloads")


async def echo(request: web.Request) -> web.StreamResponse:
    """Say the prompt again, in two pieces."""
    prompt = (await request.json())["messages"][-1]["content"]
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    half = len(prompt) // 2
    await answer.write(frame(prompt[:half]) + frame(prompt[half:]) + LAST_FRAME)
    return answer


async def talk_for_ever(request: web.Request) -> web.StreamResponse:
    """Say the same for as long as somebody listens."""
    await request.read()
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    piece = frame("x" * 4_000) * 4
    with contextlib.suppress(ConnectionError):
        while True:
            await answer.write(piece)
            await asyncio.sleep(0.005)
    return answer


class Siege:
    """The attackers, and what they did.

    Args:
        at: a client of the gateway.
        cli: the gateway's user, whose configuration is written again.
        other: a key that is not the client's.
    """

    def __init__(self, at: At, cli: Cli, other: str) -> None:
        self.at, self.cli, self.other = at, cli, other
        self.done: Counter[str] = Counter()
        self._text = cli.config.read_text()

    async def keep_on(self, kind: str, attack: Callable[[], Awaitable[object]]) -> None:
        """Attack until cancelled; that the gateway cuts an attacker off is what it is for."""
        while True:
            self.done[kind] += 1
            with contextlib.suppress(OSError, asyncio.TimeoutError, aiohttp.ClientError):
                await attack()
            await asyncio.sleep(0.01)

    def attacks(self) -> dict[str, tuple[int, Callable[[], Awaitable[object]]]]:
        """Return the attacks, and how many there are of each at once."""
        ways = (
            *((4, self.log_in), (2, self.send_large_login), (4, self.begin_head)),
            *((2, self.try_key), (2, self.read_slowly), (1, self.ask_whole), (1, self.write_again)),
        )
        return dict(zip(KINDS, ways, strict=True))

    async def log_in(self) -> None:
        """Log in as somebody who does not exist."""
        given = {"account": f"a{secrets.token_hex(4)}", "password": "x"}
        async with self.at.session.post(self.at.url + LOGIN, json=given) as answer:
            await answer.read()

    async def send_large_login(self) -> None:
        """Announce a login of 19 MB, and wait."""
        async with self.at.connection() as (reader, writer):
            head = f"POST {LOGIN} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 19000000\r\n\r\n"
            writer.write(head.encode() + b"x" * 100_000)
            async with asyncio.timeout(2):
                await reader.read()

    async def begin_head(self) -> None:
        """Begin a head and never end it."""
        async with self.at.connection() as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 4_000)
            async with asyncio.timeout(0.5):
                await reader.read()

    async def try_key(self) -> None:
        """Ask with a key that is wrong."""
        await self.at.ask(OPENAI, key=f"bk-{secrets.token_hex(8)}")

    async def read_slowly(self) -> None:
        """Ask for an endless stream, and read nothing of it for a while."""
        body = json.dumps(OPENAI.body("x", "endless:m1", True)).encode()
        async with self.at.connection() as (_, writer):
            key = f"Authorization: Bearer {self.other}\r\nContent-Type: application/json\r\n"
            head = f"POST {OPENAI.path} HTTP/1.1\r\nHost: localhost\r\n{key}"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await asyncio.sleep(1)

    async def ask_whole(self) -> None:
        """Ask for the whole of an endless answer."""
        async with asyncio.timeout(3):
            await self.at.ask(OPENAI, model="endless:m1", key=self.other)

    async def write_again(self) -> None:
        """Write the configuration in place, slowly."""
        with self.cli.config.open("w") as file:
            file.flush()
            await asyncio.sleep(0.3)
            file.write(self._text + f"# {secrets.token_hex(4)}\n")
        await asyncio.sleep(1.5)


async def ask_all(at: At, count: int) -> list[str]:
    """Ask so many questions, a few at once, and return what was wrong."""
    wrong: list[str] = []
    left = iter(range(count))

    async def work() -> None:
        for n in left:
            prompt = f"{n}-{secrets.token_hex(16)}"
            answer = await at.ask(OPENAI, prompt, "good:m1", stream=bool(n % 2))
            if answer.status != 200 or answer.text != prompt:
                wrong.append(f"{answer.status} {answer.data[:200]!r}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return wrong


def resident_mib(pid: int) -> int:
    """Return the memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) // 1024


async def besiege(folder: Path, count: int) -> tuple[list[str], Counter[str], int]:
    """Return what was wrong, what the attackers did, and how much the gateway's memory grew."""
    app = web.Application()
    app.router.add_post("/good/chat/completions", echo)
    app.router.add_post("/endless/chat/completions", talk_for_ever)
    cli = Cli(folder)
    async with running(app) as url:
        tables = [described(cli, name, f"{url}/{name}") for name in ("good", "endless")]
        full = "access_log = '/dev/full'\n" if Path("/dev/full").exists() else ""
        cli.configure(f"{''.join(tables)}[server]\nport = 0\n{full}")
        keys = [(await cli.run("key", "add", name)).out.strip() for name in ("client", "other")]
        async with serving(cli) as (process, at):
            at.key = keys[0]
            before = resident_mib(process.pid)
            siege = Siege(at, cli, keys[1])
            attackers = [
                asyncio.create_task(siege.keep_on(kind, attack))
                for kind, (many, attack) in siege.attacks().items()
                for _ in range(many)
            ]
            wrong = await ask_all(at, count)
            for attacker in attackers:
                attacker.cancel()
            await asyncio.gather(*attackers, return_exceptions=True)
            grown = resident_mib(process.pid) - before
            process.terminate()
            await asyncio.wait_for(process.wait(), 30)
    return wrong, siege.done, grown


def main() -> int:
    """Besiege a gateway, and say how it went."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o700)
        wrong, done, grown = asyncio.run(besiege(Path(folder), count))
    attacks = ", ".join(f"{done[kind]} {kind}" for kind in KINDS)
    print(f"{count - len(wrong)} of {count} answers right in {time.monotonic() - began:.0f} s")
    print(f"meanwhile: {attacks}; the gateway grew by {grown} MiB")
    print("\n".join(wrong[:10]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
