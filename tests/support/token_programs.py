"""The four kinds of programs that share one login on a machine: a program that uses the library, a
gateway, `berlin token` and `berlin exec`; each a process of its own, forked from one that has
Berlin imported, so that 50 of them start in seconds.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from support import warm
from support.cli import Cli, Ended
from support.token_service import RECIPE, TokenService

PROVIDER = "strict"
WITHIN_S = 60.0
_URL = re.compile(r"http://\S+")

_LIBRARY = """
import asyncio, sys
from pathlib import Path
from berlin.client import Berlin
from berlin.config import load_config, resolve_settings
from berlin.errors import BerlinError

async def main():
    settings = resolve_settings("strict", load_config(Path(sys.argv[1])))
    async with Berlin.from_settings(settings) as berlin:
        print("ready", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            try:
                print("answer:", (await berlin.ask("ann")).text, flush=True)
            except BerlinError as error:
                print(error.message, flush=True)

asyncio.run(main())
"""

_LOG_IN = """
import asyncio, sys
from pathlib import Path
from berlin.client import Berlin
from berlin.config import load_config, resolve_settings
from support.identity_service import Browser

async def main():
    settings = resolve_settings("strict", load_config(Path(sys.argv[1])))
    async with Berlin.from_settings(settings) as berlin:
        await berlin.log_in(Browser())

asyncio.run(main())
"""

_SHOW = "import os; print(os.environ['BERLIN_TOKEN'])"


class Said(NamedTuple):
    """What one program said in the end.

    Attributes:
        kind: `library`, `gateway`, `token` or `exec`.
        good: whether it got what it wanted.
        text: the answer, the token or the message of the error.
    """

    kind: str
    good: bool
    text: str


class Programs:
    """The programs of one user; see the module.

    Args:
        folder: the user's home.
        service: what they log in to.
        each: how many there are of each kind.
        recipe: the recipe of the service.
        credentials: the members of the provider's table.
    """

    def __init__(
        self,
        folder: Path,
        service_url: str,
        each: int,
        recipe: str = RECIPE,
        credentials: str = 'account = "ann"\npassword = "password of ann"\n',
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.cli = Cli(folder)
        self.each = each
        self.processes: list[warm.Running] = []
        self._gateways: list[tuple[warm.Running, str]] = []
        self.cli.configure(
            f'[tokens]\nstore = "file"\n[providers.{PROVIDER}]\nrecipe = "strict.toml"\n'
            f'url = "{service_url}"\n{credentials}'
        )
        self.cli.config.with_name("strict.toml").write_text(recipe)
        self.cli.environ["BERLIN_CONFIG"] = str(self.cli.config)

    @property
    def stored(self) -> Path:
        """The file of the one token that is stored."""
        [path] = (self.cli.data / "tokens").glob("*.json")
        return path

    async def start(self, until: AsyncExitStack) -> None:
        """Start the programs that run for long: those of the library, and the gateways."""
        environ, config = self.cli.environ, str(self.cli.config)
        for _ in range(self.each):
            library = warm.started((config,), environ, _LIBRARY)
            self.processes.append(await until.enter_async_context(library))
        serving = [
            await until.enter_async_context(warm.started(("serve", "--port", "0"), environ))
            for _ in range(self.each)
        ]
        async with asyncio.timeout(WITHIN_S):
            for process in self.processes:
                assert await process.stdout.readline() == b"ready\n"
            for process in serving:
                said = (await process.stderr.readline()).decode()
                found = _URL.search(said)
                assert found is not None, said
                self._gateways.append((process, found[0]))

    async def log_in(self) -> None:
        """Log in as `berlin login` does, as a person with a browser."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _LOG_IN, str(self.cli.config)),
            env={**self.cli.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert await process.wait() == 0

    async def token(self, *more: str) -> Ended:
        """Run `berlin token`."""
        return await self.cli.run("token", PROVIDER, *more, within=WITHIN_S)

    async def all_at_once(self, *, without: int = 0, reject: str = "") -> list[Said]:
        """Let all programs of all kinds use the login at the same time.

        Args:
            without: how many programs of the library take no part.
            reject: a token that the service refused; `berlin token` hands it back, and
                `berlin exec`, which cannot know of it, runs after that.
        """
        hands_back = ("--reject", reject) if reject else ()
        async with aiohttp.ClientSession() as session:
            said = [
                *(self._library(process) for process in self.processes[without:]),
                *(self._gateway(session, process, url) for process, url in self._gateways),
                *(self._command("token", "token", PROVIDER, *hands_back) for _ in self._gateways),
            ]
            show = (PROVIDER, "--", sys.executable, "-c", _SHOW)
            run = [self._command("exec", "exec", *show) for _ in self._gateways]
            if reject:
                return [*await asyncio.gather(*said), *await asyncio.gather(*run)]
            return await asyncio.gather(*said, *run)

    async def _library(self, process: warm.Running) -> Said:
        process.stdin.write(b"\n")
        async with asyncio.timeout(WITHIN_S):
            said = (await process.stdout.readline()).decode().strip()
        return Said("library", said.startswith("answer:"), said)

    async def _gateway(
        self, session: aiohttp.ClientSession, process: warm.Running, url: str
    ) -> Said:
        """Ask a gateway; its clients are told nothing of its logins, but its log is."""
        body = {"model": PROVIDER, "messages": [{"role": "user", "content": "ann"}]}
        async with (
            asyncio.timeout(WITHIN_S),
            session.post(f"{url.rstrip('/')}/v1/chat/completions", json=body) as answer,
        ):
            said = json.loads(await answer.read())
        if answer.status == 200:
            return Said("gateway", True, said["choices"][0]["message"]["content"])
        async with asyncio.timeout(WITHIN_S):
            line = ""
            while "login" not in line:
                line = (await process.stderr.readline()).decode()
        return Said("gateway", False, line)

    async def _command(self, kind: str, *words: str) -> Said:
        ended = await self.cli.run(*words, within=WITHIN_S)
        if ended.code:
            return Said(kind, False, f"exit code {ended.code}: {(ended.err or ended.out).strip()}")
        return Said(kind, True, ended.out.strip())


@asynccontextmanager
async def programs(folder: Path, service: TokenService, each: int = 4) -> AsyncIterator[Programs]:
    """Run programs of the four kinds for the block, which use the strict service."""
    found = Programs(folder, service.url, each)
    async with AsyncExitStack() as until:
        await found.start(until)
        yield found
