"""The gateway's commands: keys, and what it does not start with (A08, A16, A19, X02 to X27)."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest

from support.cli import Cli, reader
from support.gateway_process import ask, client, rest_of


async def test_a08_keys_of_a_running_process(tmp_path: Path) -> None:
    """A key that is made, and revoked, by the command is seen by a running process in a second."""
    cli = Cli(tmp_path)
    async with cli.serve() as (process, url), client() as session:

        async def status(key: str) -> int:
            async with session.get(
                url + "/v1/models", headers={"Authorization": f"Bearer {key}"}
            ) as answer:
                return answer.status

        assert await status("none is needed") == 200
        made = await cli.run("key", "add", "one")
        key = made.out.strip()
        await asyncio.sleep(1)
        assert (await status(key), await status("none")) == (200, 401)
        assert (await cli.run("key", "revoke", "one")).code == 0
        await asyncio.sleep(1)
        assert await status(key) == 401
        listed = await cli.run("key", "list")
        assert key not in listed.out
        assert "revoked" in listed.out
        process.terminate()
        code, said = await rest_of(process)
        assert (code, key in said) == (0, False)


@pytest.mark.parametrize(
    "args",
    [
        ("--rpm", "-1"),
        ("--rpm", "0"),
        ("--rpm", "nan"),
        ("--rpm", "1e400"),
        ("--rpm", "9" * 30),
        ("--expires", "-1d"),
        ("--expires", "nan"),
        ("--expires", "2001-01-01"),
        ("--expires", "0h"),
        ("--model", "*"),
        ("--model", "s:*x*"),
        ("--model", ""),
    ],
    ids=" ".join,
)
async def test_a16_limits_of_keys_that_make_no_sense(args: tuple[str, ...], tmp_path: Path) -> None:
    """Limits that are negative, no numbers or in the past are refused, and no key is made."""
    cli = Cli(tmp_path)
    refused = await cli.run("key", "add", "one", *args)
    assert (refused.code, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    assert "one" not in (await cli.run("key", "list")).out


async def test_a19_there_is_no_default_key(tmp_path: Path) -> None:
    """Without keys it serves this machine only, and refuses to be reached from elsewhere."""
    cli = Cli(tmp_path)
    refused = await cli.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert "berlin key add" in refused.err
    made = await cli.run("key", "add", "one")
    async with cli.start("serve", "--host", "0.0.0.0", "--port", "0") as process:
        async with asyncio.timeout(30):
            said = b""
            while b"serving" not in said:
                said = await reader(process.stderr).readline()
        port = int(said.decode().split(":")[-1].split()[0])
        async with client() as session:
            url = f"http://127.0.0.1:{port}/v1/models"
            for key, status in (
                ("", 401),
                ("sk-1234", 401),
                ("admin", 401),
                (made.out.strip(), 200),
            ):
                async with session.get(url, headers={"x-api-key": key}) as answer:
                    assert answer.status == status


URLS = [
    "file:///etc/passwd",
    "unix:/run/docker.sock",
    "gopher://localhost/x",
    "data:text/plain,x",
    "http://user:pass@localhost/",
    "http://localhost\\@evil.example/",
    "http://local\thost/",
    "http://169.254.169.254/",
    "http://2852039166/",
    "http://[::ffff:169.254.169.254]/",
    "http://service.example/",
]


@pytest.mark.parametrize("url", URLS)
async def test_x02_x04_x05_x21_urls_that_are_refused(url: str, tmp_path: Path) -> None:
    """URLs that lead elsewhere than they seem, or in the clear to another machine, do not start."""
    quoted = json.dumps(url)
    cli = Cli(tmp_path).configure(
        f"[providers.s]\nurl = {quoted}\naccount = 'a'\npassword = 'canary-word'\n"
    )
    refused = await cli.run("serve", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert "Traceback" not in refused.err
    assert "canary-word" not in refused.err


async def test_x20_password_of_a_proxy(tmp_path: Path) -> None:
    """The password of a proxy stands in no line and no answer, whatever fails."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        cli = Cli(tmp_path).configure(
            "[providers.s]\nurl = 'http://127.0.0.1:9/x'\naccount = 'a'\npassword = 'b'\n"
            f"proxy = 'http://user:canary-word@127.0.0.1:{port}'\n"
        )
        cli.config.chmod(0o600)
        checked = await cli.run("config", "check")
        async with cli.serve() as (process, url), client() as session:
            status, data = await ask(session, url, model="s")
            process.terminate()
            code, said = await rest_of(process)
    assert (status, code) == (502, 0)
    assert "canary-word" not in f"{checked.out}{checked.err}{data.decode()}{said}"


async def test_x27_no_files_are_left(tmp_path: Path) -> None:
    """A run leaves no temporary file, and what it keeps is its owner's."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cli = Cli(tmp_path)
    await cli.run("key", "add", "one")
    async with cli.start("serve", "--port", "0", TMPDIR=str(temporary)) as process:
        async with asyncio.timeout(30):
            await reader(process.stderr).readline()
        process.terminate()
        assert (await rest_of(process))[0] == 0
    assert list(temporary.iterdir()) == []
    for folder, _, files in os.walk(cli.home):
        for name in files:
            assert (Path(folder) / name).stat().st_mode & 0o077 == 0, name
