"""The guarantees about tokens, each as a function that tries it: `make guarantees` prints them as
a table; the suite runs each of them as a test.

Real processes, a real Redis, a real service that counts logins.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from berlin.client import Berlin
from support.outcome import Guarantee, Outcome
from support.program_guarantees import PROGRAM_GUARANTEES
from support.token_processes import Workers, redis_server, workers
from support.token_service import TokenService, strict_settings
from support.user_guarantee import two_users

LIFETIME_S = 2.0
"""How long a token lives whose expiry is waited for."""


def _check(service: TokenService, expected_logins: int, reports: list[dict[str, Any]]) -> list[str]:
    problems = [*service.violations]
    if len(service.logins) != expected_logins:
        problems.append(f"{len(service.logins)} logins instead of {expected_logins}")
    problems += [error for report in reports for error in report["errors"][:1]]
    return problems


async def coroutines_cold(folder: Path) -> Outcome:
    """1,000 coroutines start cold: one login."""
    async with TokenService(login_takes=0.1) as service:
        async with Berlin.from_settings(strict_settings(folder, service.url)) as berlin:
            await asyncio.gather(*(berlin.ask("ann") for _ in range(1000)))
        return Outcome("1,000 coroutines, cold", len(service.logins), _check(service, 1, []))


async def coroutines_rejected(folder: Path) -> Outcome:
    """200 requests meet a 401 together: one more login."""
    async with TokenService(login_takes=0.1) as service:
        async with Berlin.from_settings(strict_settings(folder, service.url)) as berlin:
            await berlin.ask("ann")
            service.expire_all()
            await asyncio.gather(*(berlin.ask("ann") for _ in range(200)))
        return Outcome("200 requests meet a 401", len(service.logins), _check(service, 2, []))


async def accounts_apart(folder: Path) -> Outcome:
    """Ten accounts at once: ten logins, and no token crosses."""
    async with TokenService(login_takes=0.05) as service:
        names = [f"account{n}" for n in range(10)]
        settings = [strict_settings(folder, service.url, name) for name in names]
        providers = list(map(Berlin.from_settings, settings))
        asked = zip(providers, names, strict=True)
        await asyncio.gather(*(p.ask(name) for p, name in asked for _ in range(20)))
        for provider in providers:
            await provider.aclose()
        return Outcome("10 accounts x 20 requests", len(service.logins), _check(service, 10, []))


async def file_cold(folder: Path) -> Outcome:
    """8 processes with the file store start cold: one login."""
    async with (
        TokenService(login_takes=0.3) as service,
        workers(8, service, folder, "file") as all_of_them,
    ):
        reports = await all_of_them.ask(5)
        tried = "8 processes x 5 requests, file, cold"
        return Outcome(tried, len(service.logins), _check(service, 1, reports))


async def file_expiry(folder: Path) -> Outcome:
    """8 processes with the file store at expiry: one more login."""
    async with (
        TokenService(lifetime=LIFETIME_S, login_takes=0.3) as service,
        workers(8, service, folder, "file") as all_of_them,
    ):
        return await _at_expiry(
            service, all_of_them, 5, "8 processes x 5 requests, file, at expiry"
        )


async def redis_expiry(folder: Path) -> Outcome:
    """8 replicas with Redis, 50 requests each at expiry: one more login."""
    async with (
        redis_server(folder / "redis") as redis,
        TokenService(lifetime=LIFETIME_S, login_takes=0.3) as service,
        workers(8, service, folder, redis.url) as all_of_them,
    ):
        return await _at_expiry(
            service, all_of_them, 50, "8 replicas x 50 requests, Redis, at expiry"
        )


async def file_rotating(folder: Path) -> Outcome:
    """Rotating refresh tokens over 8 processes with the file store: nobody is logged out."""
    async with (
        TokenService(lifetime=LIFETIME_S, rotate=True, login_takes=0.2) as service,
        workers(8, service, folder, "file") as all_of_them,
    ):
        return await _rotations(service, all_of_them, 5, "8 processes, rotating refresh, file")


async def redis_rotating(folder: Path) -> Outcome:
    """Rotating refresh tokens over 8 replicas with Redis: nobody is logged out."""
    async with (
        redis_server(folder / "redis") as redis,
        TokenService(lifetime=LIFETIME_S, rotate=True, login_takes=0.2) as service,
        workers(8, service, folder, redis.url) as all_of_them,
    ):
        return await _rotations(service, all_of_them, 50, "8 replicas, rotating refresh, Redis")


async def file_holder_killed(folder: Path) -> Outcome:
    """The process that logs in is killed: another takes over at once."""
    async with (
        TokenService(login_takes=1.0) as service,
        workers(3, service, folder, "file") as all3,
    ):
        return await _holder_killed(service, all3, "holder killed in mid-login, file", 5.0)


async def redis_holder_killed(folder: Path) -> Outcome:
    """The replica that logs in is killed: its lease ends by the server's clock."""
    async with (
        redis_server(folder / "redis") as redis,
        TokenService(login_takes=1.0) as service,
        workers(3, service, folder, redis.url) as all_of_them,
    ):
        return await _holder_killed(service, all_of_them, "holder killed in mid-login, Redis", 8.0)


async def redis_paused(folder: Path) -> Outcome:
    """Redis hangs: each replica logs in by itself, no request waits over a second for it."""
    async with (
        redis_server(folder / "redis") as redis,
        TokenService() as service,
        workers(2, service, folder, redis.url) as both,
    ):
        redis.pause()
        reports = await both.ask(20)
        problems = _check(service, 2, reports) + _slower_than(2.0, reports)
        redis.resume()
        await asyncio.sleep(4)
        service.expire_all()
        reports = await both.ask(20)
        problems += [error for report in reports for error in report["errors"][:1]]
        if len(service.logins) != 3:
            problems.append(f"{len(service.logins) - 2} logins after Redis was back instead of 1")
        return Outcome("Redis hangs, then goes on", len(service.logins), problems)


async def redis_emptied(folder: Path) -> Outcome:
    """Redis is restarted and has lost everything: the next expiry is one login again."""
    async with (
        redis_server(folder / "redis") as redis,
        TokenService() as service,
        workers(4, service, folder, redis.url) as all_of_them,
    ):
        await all_of_them.ask(5)
        await redis.stop()
        await redis.start()
        service.expire_all()
        await asyncio.sleep(0.5)
        reports = await all_of_them.ask(5)
        return Outcome("Redis restarted empty", len(service.logins), _check(service, 2, reports))


async def refused_across_processes(folder: Path) -> Outcome:
    """A wrong password is tried once, however many processes have it."""
    async with TokenService() as service, workers(4, service, folder, "file") as all_of_them:
        service.refuse_logins = True
        reports = await all_of_them.ask(10)
        problems = [] if all(report["good"] == 0 for report in reports) else ["some got in"]
        if len(service.logins) != 1:
            problems.append(f"{len(service.logins)} logins instead of 1")
        return Outcome("wrong password, 4 processes x 10", len(service.logins), problems)


async def _at_expiry(
    service: TokenService, all_of_them: Workers, requests: int, tried: str
) -> Outcome:
    reports = await all_of_them.ask(requests)
    before = len(service.logins)
    await asyncio.sleep(LIFETIME_S + 0.2)
    service.lifetime = 3600.0  # the second round may take as long as it likes
    reports += await all_of_them.ask(requests)
    problems = _check(service, before + 1, reports) + _too_soon(service)
    return Outcome(tried, len(service.logins), problems)


async def _rotations(
    service: TokenService, all_of_them: Workers, requests: int, tried: str
) -> Outcome:
    reports = await all_of_them.ask(requests)
    for _ in range(3):
        await asyncio.sleep(LIFETIME_S + 0.2)
        reports += await all_of_them.ask(requests)
    problems = _check(service, 1, reports)
    if len(service.refreshes) < 3:
        problems.append(f"{len(service.refreshes)} refreshes instead of 3")
    return Outcome(f"{tried}, 3 expiries", len(service.logins), problems + _too_soon(service))


def _too_soon(service: TokenService) -> list[str]:
    # On a busy machine a round may take longer than a token lives, and needs one more.
    return [
        f"a token was replaced after {after - before:.2f} s"
        for before, after in pairwise([*service.logins, *service.refreshes])
        if after - before < 0.75 * LIFETIME_S  # it is renewed when 80 % of its life are over
    ]


async def _holder_killed(
    service: TokenService, all_of_them: Workers, tried: str, limit: float
) -> Outcome:
    holder = all_of_them.processes[0]
    holder.stdin.write(b"1\n")
    async with asyncio.timeout(30):
        while not service.logins:
            await asyncio.sleep(0.01)
    holder.kill()
    reports = await all_of_them.ask(5, only=[1, 2])
    return Outcome(
        tried, len(service.logins), _check(service, 2, reports) + _slower_than(limit, reports)
    )


def _slower_than(limit: float, reports: list[dict[str, Any]]) -> list[str]:
    slow = [report["seconds"] for report in reports if report["seconds"] > limit]
    return [f"{slow[0]:.1f} s instead of {limit:g} s at most"] if slow else []


GUARANTEES: dict[str, Guarantee] = {
    guarantee.__name__: guarantee
    for guarantee in (
        coroutines_cold,
        coroutines_rejected,
        accounts_apart,
        file_cold,
        file_expiry,
        file_rotating,
        file_holder_killed,
        redis_expiry,
        redis_rotating,
        redis_holder_killed,
        redis_paused,
        redis_emptied,
        refused_across_processes,
        two_users,
        *PROGRAM_GUARANTEES,
    )
}


async def main(names: list[str]) -> int:
    """Try the guarantees of these names, or all, and print a table; return how many failed."""
    print(f"{'tried':56}{'logins':>7}{'refreshes':>10}  result")
    failed = 0
    for name in names or GUARANTEES:
        guarantee = GUARANTEES[name]
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            outcome = await guarantee(Path(folder) / name)
            result = "pass" if not outcome.problems else f"FAIL: {'; '.join(outcome.problems)}"
            failed += bool(outcome.problems)
            took = time.monotonic() - began
            refreshes = "" if outcome.refreshes is None else outcome.refreshes
            seen = f"{outcome.tried:56}{outcome.logins:7}{refreshes:>10}"
            print(f"{seen}  {result} ({took:.1f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
