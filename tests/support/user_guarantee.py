"""The guarantee about two users of one machine, tried with processes of two users."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path

from support.outcome import Outcome
from support.token_service import RECIPE, TokenService

# The worst case: both have the same password and the same folder, which both may write to.
_USER = """
import asyncio, concurrent.futures.thread, json, os, sys
from pathlib import Path
import berlin.auth.tokens.file_store, keyring.backends.fail
from berlin.client import Berlin
from berlin.config import load_config, resolve_settings
import berlin.transport, berlin.recipes.build, berlin.config.compose

user, config, tokens = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])

def readable(path):
    try:
        return path.read_text()
    except OSError:
        return ""

async def main():
    settings = resolve_settings("strict", load_config(config))
    async with Berlin.from_settings(settings) as berlin:
        # The interpreter may be in a folder of root's: the user changes when all is imported.
        os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
        answer = (await berlin.ask("ann")).text
        own = str(await berlin.token())
    try:
        seen = [readable(path) for path in tokens.iterdir()]
    except OSError:
        seen = []
    print(json.dumps({"answer": answer, "token": own, "seen": seen}))

asyncio.run(main())
"""
_USERS = (61001, 61002)


async def two_users(folder: Path) -> Outcome:
    """Two users of one machine, one account, one folder: neither reads the other's token."""
    tried = "2 users, one account, one token folder"
    if sys.platform != "linux" or os.getuid() != 0:
        return Outcome(f"{tried}: NOT TRIED, needs root", 0, [])
    folder.mkdir(parents=True)
    # Not below the folder of the tests, which belongs to root alone.
    with tempfile.TemporaryDirectory() as common:
        Path(common).chmod(0o777)
        return await _try(tried, folder, Path(common))


async def _try(tried: str, folder: Path, shared: Path) -> Outcome:
    async with TokenService(lifetime=3600.0, rotate=True) as service:
        (folder / "strict.toml").write_text(RECIPE)
        config = folder / "berlin.toml"
        config.write_text(
            '[tokens]\nstore = "file"\n[providers.strict]\nrecipe = "strict.toml"\n'
            f'url = "{service.url}"\naccount = "ann"\npassword = "password of ann"\n'
        )
        reports = [await _run(user, config, shared) for user in (*_USERS, *_USERS)]
        problems = [*service.violations, *_mixed(reports)]
        # The first user's token is stored; the second finds a folder that is not theirs.
        if len(service.logins) != 3:
            problems.append(f"{len(service.logins)} logins instead of 3")
        return Outcome(tried, len(service.logins), problems)


def _mixed(reports: list[dict[str, object]]) -> list[str]:
    first, second, first_again, second_again = (str(report["token"]) for report in reports)
    problems = [] if first == first_again else ["the first user's own token was not found again"]
    if {first} & {second, second_again}:
        problems.append("the second user got the token of the first")
    if any(first in str(report["seen"]) for report in (reports[1], reports[3])):
        problems.append("the second user can read the file of the first")
    return problems


async def _run(user: int, config: Path, shared: Path) -> dict[str, object]:
    tokens = shared / "berlin" / "tokens"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(shared),
        "XDG_DATA_HOME": str(shared),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _USER, str(user), str(config), str(tokens)),
        env=environ, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    report: dict[str, object] = json.loads(out)
    return report
