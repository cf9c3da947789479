"""Lets each agent fix the bug through each service, and prints what it took: `make agents`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from agents.programs import PROGRAMS, Program, environment_of
from agents.recorder import Recorder, open_recorder
from agents.service import RECIPES, Service, open_service
from agents.task import problems_of, write_repository
from berlin.workbench.fake import CREDENTIALS

LIMIT_S = 240.0

CONFIG = """
default = "{kind}"

[providers.{kind}]
recipe = "{kind}.toml"
url = "{url}"
account = "{account}"
password = "{password}"

[aliases]
proof = "{kind}"

[server]
port = {port}
"""


class Outcome(NamedTuple):
    """What one agent needed for the task.

    Attributes:
        numbers: turns, calls, logins, expired tokens, conversations, leaks, failures.
        problems: what went wrong; empty if nothing did.
        output: what the agent printed.
    """

    numbers: tuple[int, ...]
    problems: list[str]
    output: str


HEADS = ("turns", "calls", "logins", "expired", "conversations", "leaks", "failures")


async def main() -> int:
    """Run what is named on the command line, or all; return the exit code."""
    print(f"{'agent':10} {'service':11}", *(f"{head:>13}" for head in HEADS), " result")
    failed = False
    for kind in RECIPES:
        for program in PROGRAMS:
            if not _is_wanted(program.name, kind):
                continue
            try:
                outcome = await _run(program, kind)
            except FileNotFoundError as missing:
                print(f"{program.name:10} {kind:11} is not installed here: {missing.filename}")
                failed = failed or program.is_required
                continue
            result = "green" if not outcome.problems else "; ".join(outcome.problems)
            numbers = (f"{number:13}" for number in outcome.numbers)
            print(f"{program.name:10} {kind:11}", *numbers, f" {result}", flush=True)
            if outcome.problems:
                failed = failed or program.is_required
                print(_end(outcome.output), file=sys.stderr)
    return int(failed)


def _is_wanted(program: str, kind: str) -> bool:
    """Whether the command line names it: programs, services, both, or nothing for all."""
    wanted = set(sys.argv[1:])
    programs, kinds = wanted & {each.name for each in PROGRAMS}, wanted & {*RECIPES}
    return (not programs or program in programs) and (not kinds or kind in kinds)


async def _run(program: Program, kind: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="berlin-agents-") as name:
        folder = Path(name)
        repository, home = folder / "repository", folder / "home"
        write_repository(repository)
        home.mkdir()
        async with (
            open_service(RECIPES[kind]) as service,
            _gateway(folder, kind, service.url) as (gateway, log),
            open_recorder(gateway) as (recorder, url),
        ):
            started = program.prepare(home, url)
            code, output = await _wait_for(
                started.command, {**environment_of(home), **started.environment}, repository
            )
        problems = [f"it ended with {code}"] if code else []
        problems += problems_of(repository) + _problems_of(
            service, recorder, kind, 1 + program.side_chats
        )
        numbers = (
            recorder.turns,
            recorder.calls,
            service.logins,
            service.expired,
            service.mind.conversations,
            recorder.leaks,
            len(recorder.failures),
        )
        told = [output, *recorder.failures, *service.failed, *log]
        return Outcome(numbers, problems, "\n".join(told))


def _problems_of(service: Service, recorder: Recorder, kind: str, chats: int) -> list[str]:
    problems = []
    if service.logins != 1 + service.expired:
        problems.append("more logins than expired tokens and the first")
    # Where the service takes whole histories, a count of conversations says nothing.
    if kind == "text-only" and service.mind.conversations != chats:
        problems.append(f"{service.mind.conversations} conversations, not {chats}")
    if recorder.leaks:
        problems.append("a mark of a call was shown")
    if recorder.failures or service.failed:
        problems.append("a turn failed")
    return problems


@asynccontextmanager
async def _gateway(
    folder: Path, kind: str, service_url: str
) -> AsyncIterator[tuple[str, list[str]]]:
    """Give the URL of `berlin serve` over the service, and what it prints."""
    (folder / f"{kind}.toml").write_text(RECIPES[kind])
    assert CREDENTIALS.password is not None
    config = folder / "berlin.toml"
    config.write_text(
        CONFIG.format(
            kind=kind,
            url=service_url,
            account=CREDENTIALS.account,
            password=CREDENTIALS.password.reveal(),
            port=0,
        )
    )
    config.chmod(0o600)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "berlin", "serve", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")},
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        while not said or "http://" not in said[-1]:
            line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
            if not line:
                raise RuntimeError(f"the gateway did not start: {''.join(said)}")
            said.append(line)
        at = said[-1].index("http://")
        reading = asyncio.create_task(_collect(process.stdout, said))
        yield said[-1][at:].split()[0].rstrip("/.,;"), said
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.wait()
    await reading


async def _collect(stream: asyncio.StreamReader, lines: list[str]) -> None:
    async for line in stream:
        lines.append(line.decode("utf-8", "replace").rstrip())


async def _wait_for(command: list[str], environment: dict[str, str], cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
        code = process.returncode or 0
    except TimeoutError:
        code, output = -1, b"it did not end in time"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    return code, output.decode("utf-8", "replace")


def _end(output: str) -> str:
    return "\n".join(f"    {line}" for line in output.splitlines()[-30:])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
