"""The guarantees about programs of four kinds that share one login on a machine.

`make guarantees` tries each with 52 processes, the suite with 8: half of them are started before,
the others (commands) while the refresh runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from support.identity_service import IdentityService
from support.oauth_service import CHAT, HEAD
from support.outcome import Guarantee, Outcome
from support.token_programs import PROVIDER, Programs, Said, programs
from support.token_service import TokenService

EACH = 13  # programs of each kind
HOUR_S = 3600.0

_PERSONAL = """
[auth]
flow = "oauth2"
grant = "authorization_code"
client_auth = "none"
"""


async def programs_at_expiry(folder: Path) -> Outcome:
    """Programs of four kinds at expiry, rotating refresh tokens: one refresh."""
    async with _expired(folder) as (service, found):
        said = await found.all_at_once()
        return _outcome(f"{_kinds()}, rotating refresh, at expiry", service, said)


async def programs_busy(folder: Path) -> Outcome:
    """The identity provider answers 503, then 429 with `Retry-After: 2`: 3 requests in total."""
    async with _expired(folder) as (service, found):
        service.busy = [(503, ""), (429, "2")]
        said = await found.all_at_once()
        problems = []
        _, at_503, at_429, at_last = (0.0, *service.refreshes, 0.0, 0.0, 0.0)[:4]
        if at_429 - at_503 < 0.5 or at_last - at_429 < 2:
            problems = [f"asked too early: {service.refreshes}"]
        tried = f"{_kinds()}, the identity provider answers 503 and 429"
        outcome = _outcome(tried, service, said, refreshes=3)
        return outcome._replace(problems=outcome.problems + problems)


async def programs_holder_killed(folder: Path) -> Outcome:
    """The program that refreshes is killed: one login more, no refresh token is used twice."""
    async with _expired(folder, refresh_takes=1.5) as (service, found):
        holder = found.processes[0]
        holder.stdin.write(b"\n")
        async with asyncio.timeout(30):
            while not service.refreshes:
                await asyncio.sleep(0.01)
        holder.kill()
        said = await found.all_at_once(without=1)
        return _outcome(f"{_kinds()}, the one that refreshes is killed", service, said, logins=2)


async def programs_older_store(folder: Path) -> Outcome:
    """The stored token is from an older version, with members that are gone: one refresh."""
    async with _expired(folder) as (service, found):
        record = json.loads(found.stored.read_bytes())
        record = {name: record[name] for name in ("recipe", "url", "account", "token")} | {
            "expires_at": record["expires_at"],
            "refresh_token": record["refresh_token"],
            "kind": "a member of another version",
        }
        found.stored.write_text(json.dumps(record))
        said = await found.all_at_once()
        return _outcome(f"{_kinds()}, store of an older version", service, said)


async def programs_clock_back(folder: Path) -> Outcome:
    """The clock is set back one hour, and the service refuses the stored token: one refresh."""
    async with _expired(folder) as (service, found):
        record = json.loads(found.stored.read_bytes())
        record["issued_at"] += HOUR_S
        record["expires_at"] += HOUR_S
        found.stored.write_text(json.dumps(record))
        said = await found.all_at_once(reject=record["token"])
        return _outcome(f"{_kinds()}, clock set back one hour", service, said)


async def programs_disk_full(folder: Path) -> Outcome:
    """The disk is full when the token expires: one refresh, and its token is stored."""
    tried = f"{_kinds()}, the disk is full"
    with _small_disk(folder / "home" / "data") as disk:
        if disk is None:
            return Outcome(f"{tried}: NOT TRIED, mount is not allowed", 0, [])
        async with _expired(folder) as (service, found):
            _fill(disk)
            said = await found.all_at_once()
            return _outcome(tried, service, said)


async def programs_refused(folder: Path) -> Outcome:
    """The refresh token is refused: one request, and all say `berlin login NAME`, until that."""
    async with IdentityService(lifetime=1) as service, AsyncExitStack() as until:
        auth = f'{_PERSONAL}token_url = "/token"\nauthorize_url = "{service.url}/authorize"\n'
        recipe = HEAD.replace('"tested"', f'"{PROVIDER}"') + auth + CHAT
        found = Programs(folder, service.url, EACH, recipe, 'client_id = "public"\n')
        await found.log_in()
        await found.start(until)
        await asyncio.sleep(1.1)
        service.refreshes.clear()  # the administrator has ended the session
        said = await found.all_at_once() + await found.all_at_once()
        asked = service.kinds.count("refresh_token")
        problems = [] if asked == 1 else [f"{asked} requests with the refused token instead of 1"]
        problems += [
            f"{kind}: {text}"
            for kind, good, text in said
            if good or f"run `berlin login {PROVIDER}`" not in text
        ]
        service.lifetime = HOUR_S
        await found.log_in()
        await asyncio.sleep(5)  # as long as a refusal is remembered
        said = await found.all_at_once()
        problems += [f"{kind} after the login: {text}" for kind, good, text in said if not good]
        return Outcome(f"{_kinds()}, refresh token refused", 2, problems, asked)


def _kinds() -> str:
    return f"{4 * EACH} programs of 4 kinds"


@asynccontextmanager
async def _expired(
    folder: Path, refresh_takes: float = 0.5
) -> AsyncIterator[tuple[TokenService, Programs]]:
    """Run programs that share a token which has just expired."""
    async with (
        TokenService(lifetime=1, rotate=True) as service,
        programs(folder, service, EACH) as found,
    ):
        await found.token()
        await asyncio.sleep(1.1)
        service.lifetime, service.login_takes = HOUR_S, refresh_takes
        yield service, found


def _outcome(
    tried: str, service: TokenService, said: list[Said], logins: int = 1, refreshes: int = 1
) -> Outcome:
    problems = [*service.violations]
    problems += [f"{kind}: {text}" for kind, good, text in said if not good]
    for name, seen, expected in (
        ("logins", len(service.logins), logins),
        ("refreshes", len(service.refreshes), refreshes),
    ):
        problems += [f"{seen} {name} instead of {expected}"] if seen != expected else []
    tokens = {text for kind, _, text in said if kind in ("token", "exec")}
    problems += [f"they have different tokens: {sorted(tokens)}"] if len(tokens) != 1 else []
    return Outcome(tried, len(service.logins), problems, len(service.refreshes))


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path | None]:
    """Mount a disk of 256 KiB for the block; `None` where that is not allowed."""
    folder.mkdir(parents=True)
    command = ("mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(folder))
    with contextlib.suppress(FileNotFoundError):
        if sys.platform == "linux" and subprocess.run(command, capture_output=True).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(("umount", "--lazy", str(folder)), check=True)
            return
    yield None


def _fill(disk: Path) -> None:
    with (disk / "full").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


PROGRAM_GUARANTEES: tuple[Guarantee, ...] = (
    programs_at_expiry,
    programs_busy,
    programs_holder_killed,
    programs_older_store,
    programs_clock_back,
    programs_disk_full,
    programs_refused,
)
