"""`berlin serve` and `berlin account`: the service as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
from pathlib import Path

import aiohttp
import pytest

from berlin import Berlin, Timeouts, errors
from support.chat_service import HANG, ChatService, Piece
from support.cli import Cli, reader
from support.face import LOGIN

QUICK = Timeouts(connect=10, first_event=20, idle=20, total=40)


async def with_account(tmp_path: Path, service: ChatService | None = None, grace: str = "5") -> Cli:
    """Return a user who may serve a service to the account bob."""
    cli = Cli(tmp_path)
    cli.configure(f"[server]\ngrace_s = {grace}\n")
    if service is not None:
        cli.uses(service.url)
    assert (
        await cli.run("account", "add", "bob", "--password-stdin", stdin="pass-of-bob")
    ).code == 0
    return cli


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Wait for the end, and return the exit code and what is left of stderr."""
    async with asyncio.timeout(30):
        said = await reader(process.stderr).read()
        return await process.wait(), said.decode()


async def test_serves_the_default_provider(tmp_path: Path) -> None:
    """A client gets the answer of the provider behind the service; stdout stays empty."""
    async with ChatService() as service:
        cli = await with_account(tmp_path, service)
        async with cli.serve() as (process, url):
            async with Berlin(url, "bob", "pass-of-bob", timeout=QUICK) as berlin:
                assert (await berlin.ask("Hi", temperature=0.5)).text == "Hello, world"
            process.terminate()
            assert await ended(process) == (0, "berlin: stopping\n")
            assert await reader(process.stdout).read() == b""
        assert service.chats[0].json["prompt"] == "Hi"
        assert service.chats[0].json["options"]["temperature"] == 0.5
        assert service.login_count == {"account": 1}


async def test_serves_the_guide_when_nothing_is_configured(tmp_path: Path) -> None:
    """Without a provider the service is the guide, and says so."""
    cli = await with_account(tmp_path)
    async with cli.start("serve", "--port", "0") as process:
        said = (await reader(process.stderr).readline()).decode()
        assert said.startswith("berlin: serving guide on http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert await ended(process) == (0, "berlin: stopping\n")


async def test_wrong_password_at_the_service(tmp_path: Path) -> None:
    """Who is not known to the service gets no answer."""
    cli = await with_account(tmp_path)
    async with cli.serve() as (_, url), Berlin(url, "bob", "guess", timeout=QUICK) as berlin:
        with pytest.raises(errors.AuthenticationError, match="wrong account or password"):
            await berlin.ask("Hi")


async def test_sigterm_lets_an_open_answer_end(tmp_path: Path) -> None:
    """After SIGTERM an open answer goes on to its end, new requests are refused, exit 0 (G26)."""
    go_on = asyncio.Event()
    pieces: list[Piece] = ["first", go_on, "last"]
    async with ChatService(pieces) as service:
        cli = await with_account(tmp_path, service)
        async with (
            cli.serve() as (process, url),
            Berlin(url, "bob", "pass-of-bob", timeout=QUICK) as berlin,
        ):
            got = []
            async for piece in berlin.text("Hi"):
                got.append(piece)
                if piece == "first":
                    process.terminate()
                    stopping = await reader(process.stderr).readline()
                    assert stopping == b"berlin: stopping\n"
                    async with aiohttp.request("POST", url + LOGIN, json={}) as late:
                        assert late.status == 503
                    go_on.set()
            assert got == ["first", "last"]
            assert await ended(process) == (0, "")


async def test_end_of_the_grace_is_told(tmp_path: Path) -> None:
    """An answer that is still open when the grace is over ends with an error, exit 0 (G27)."""
    async with ChatService(["first", HANG]) as service:
        cli = await with_account(tmp_path, service, grace="0.3")
        async with (
            cli.serve() as (process, url),
            Berlin(url, "bob", "pass-of-bob", timeout=QUICK) as berlin,
        ):
            got = []
            with pytest.raises(errors.ServiceError, match="the service is stopping; try again"):
                async for piece in berlin.text("Hi"):
                    got.append(piece)
                    process.terminate()
            assert got == ["first"]
            assert await ended(process) == (0, "berlin: stopping\n")
        await service.all_closed()


async def test_sigterm_with_idle_connections(tmp_path: Path) -> None:
    """Connections that are only kept alive do not hold up the end."""
    async with ChatService() as service:
        cli = await with_account(tmp_path, service)
        async with (
            cli.serve() as (process, url),
            Berlin(url, "bob", "pass-of-bob", timeout=QUICK) as berlin,
        ):
            await berlin.ask("Hi")
            process.terminate()
            async with asyncio.timeout(30):
                assert await ended(process) == (0, "berlin: stopping\n")


async def test_port_in_use(tmp_path: Path) -> None:
    """A port that another program listens on is told in one line, exit 2 (G32)."""
    cli = await with_account(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = await cli.run("serve", "--port", str(port))
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"berlin: cannot listen on 127.0.0.1:{port}: ")
    assert refused.err.endswith("; choose another with --host and --port\n")
    assert refused.err.count("\n") == 1


async def test_without_keys_it_is_not_reached_from_elsewhere(tmp_path: Path) -> None:
    """Beyond this machine nothing is served without keys; there is no default key (A19)."""
    refused = await Cli(tmp_path).run("serve", "--host", "0.0.0.0", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == (
        "berlin: 0.0.0.0 can be reached from other machines, and there are no keys: add one first, "
        "with `berlin key add NAME`\n"
    )


async def test_unknown_provider_is_not_served(tmp_path: Path) -> None:
    """A provider of [server] that is not there is an error at the start."""
    cli = await with_account(tmp_path)
    cli.configure('[server]\nprovider = "gone"\n')
    refused = await cli.run("serve", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("berlin: no provider 'gone'; there are: berlin, guide.")


async def test_listening_beyond_this_machine_is_warned_about(tmp_path: Path) -> None:
    """Plain http on all addresses is possible with keys, and with a warning."""
    cli = await with_account(tmp_path)
    assert (await cli.run("key", "add", "ann")).code == 0
    async with cli.start("serve", "--host", "0.0.0.0", "--port", "0") as process:
        warned = (await reader(process.stderr).readline()).decode()
        assert "over plain http; put TLS in front of it" in warned
        assert b"serving guide on http://0.0.0.0:" in await reader(process.stderr).readline()
        process.terminate()
        assert (await ended(process))[0] == 0


async def test_account_is_kept_as_a_hash(tmp_path: Path) -> None:
    """The file of accounts holds a salted hash, not the password, and is its owner's (A05)."""
    cli = Cli(tmp_path)
    added = await cli.run("account", "add", "bob", "--password-stdin", stdin="plain-text-pw\n")
    assert (added.code, added.err) == (0, "")
    assert added.out.startswith("bob can log in now")
    path = cli.data / "accounts.json"
    stored = json.loads(path.read_bytes())
    assert stored["version"] == 1
    assert set(stored["accounts"]["bob"]) == {"salt", "hash"}
    assert len(bytes.fromhex(stored["accounts"]["bob"]["hash"])) == 32
    assert "plain-text-pw" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_accounts_are_listed_and_removed(tmp_path: Path) -> None:
    """Accounts are listed in order; a removed one is gone; the same password hashes differently."""
    cli = Cli(tmp_path)
    for name in ("zoe", "adam"):
        await cli.run("account", "add", name, "--password-stdin", stdin="same")
    stored = json.loads((cli.data / "accounts.json").read_bytes())["accounts"]
    assert stored["zoe"]["hash"] != stored["adam"]["hash"]
    listed = await cli.run("account", "list")
    assert (listed.code, listed.out, listed.err) == (0, "adam\nzoe\n", "")
    removed = await cli.run("account", "remove", "adam")
    assert removed.code == 0
    assert removed.out.startswith("adam can no longer log in")
    assert (await cli.run("account", "list")).out == "zoe\n"
    again = await cli.run("account", "remove", "adam")
    assert (again.code, again.out) == (2, "")
    assert "there is no account 'adam'" in again.err


@pytest.mark.parametrize(
    ("args", "stdin", "said"),
    [
        (("bob",), "pw", "there is no terminal to ask on; use --password-stdin"),
        (("bob", "--password-stdin"), "", "the password is empty"),
        (("bob", "--password-stdin"), "x" * 1025, "a password has 1 to 1024 bytes"),
        (("b\nob", "--password-stdin"), "pw", "printable characters"),
        ((" ", "--password-stdin"), "pw", "printable characters"),
        (("b" * 129, "--password-stdin"), "pw", "printable characters"),
    ],
)
async def test_accounts_that_cannot_be(
    tmp_path: Path, args: tuple[str, ...], stdin: str, said: str
) -> None:
    """Bad names and passwords are refused with exit code 2, and nothing is written."""
    cli = Cli(tmp_path)
    refused = await cli.run("account", "add", *args, stdin=stdin)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    assert not (cli.data / "accounts.json").exists()


async def test_accounts_from_a_newer_version(tmp_path: Path) -> None:
    """A file of accounts from a newer version is not overwritten (D12)."""
    cli = Cli(tmp_path)
    cli.data.mkdir(mode=0o700, parents=True)
    path = cli.data / "accounts.json"
    path.write_text('{"version": 2, "accounts": {}}')
    path.chmod(0o600)
    refused = await cli.run("account", "add", "bob", "--password-stdin", stdin="pw")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith(f"berlin: the accounts in {path} cannot be read: ")
    assert path.read_text() == '{"version": 2, "accounts": {}}'


async def test_a_service_does_not_serve_itself(tmp_path: Path) -> None:
    """A provider whose URL is that of the service itself is told before it starts."""
    cli = await with_account(tmp_path)
    url = "http://127.0.0.1:4114"
    login = {"BERLIN_URL": url, "BERLIN_ACCOUNT": "a", "BERLIN_PASSWORD": "b"}
    refused = await cli.run("serve", **login)
    assert (refused.code, refused.out) == (2, "")
    said = f"berlin: the URL {url} of the provider berlin is this gateway itself; "
    assert refused.err.startswith(said)
