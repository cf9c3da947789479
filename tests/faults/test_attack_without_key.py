"""Attacks that need no key: floods, made-up accounts, forwarded addresses, lost files of keys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from berlin.config import Config, ServerConfig
from berlin.errors import BerlinError, ConfigurationError
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.logins import Logins
from berlin.gateway.access.required import NAME
from berlin.gateway.body import MAX_LOGIN_BYTES, Bodies, BodyBudget
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.connection import MAX_HEAD_BYTES
from berlin.gateway.serving.reload import Reload
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Secret
from berlin.wire.json import MAX_VALUES
from support.cli import Cli
from support.face import LOGIN, accounts
from support.gateway import OPENAI, At, make_key, request_bytes, serve
from support.gateway_loop import never_blocked
from support.gateway_process import client
from support.serving import hears, serving, stopped

PROXIED = {"X-Forwarded-For": "203.0.113.5"}


def guarded(keys: Path | None, *hosts: str, proxies: tuple[str, ...] | None = None) -> Gateway:
    """Return a gateway over a scripted provider, with a file of keys and names of hosts."""
    guard = Guard(KeyReader(keys) if keys else None, hosts, (), proxies)
    return Gateway(Catalog([Service("s", ScriptedProvider(), ["m1"])]), guard)


async def log_in(at: At, account: str, password: str, **headers: str) -> int:
    """Try to log in, and return the status."""
    given = {"account": account, "password": password}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with at.session.post(at.url + LOGIN, json=given, headers=named) as answer:
        return answer.status


async def test_one_body_does_not_stop_the_loop() -> None:
    """An open text full of escaped quotes is read once: a login of 64 KiB, a chat of 20 MiB."""
    head = b'{"a":"' + b"," * (MAX_VALUES + 1) + b'","model":"'
    async with serve(Service("s", ScriptedProvider(), ["m1"])) as at:
        async with never_blocked():
            assert (await at.post(OPENAI, head + b'\\"' * 9_000_000)).status == 400
        async with at.session.post(at.url + LOGIN, data=head) as answer:
            assert answer.status == 413


async def test_logins_that_are_not_sent_hold_little(tmp_path: Path) -> None:
    """A body that is announced as large is refused before it is read; a small one waits."""
    async with serve(gateway=guarded(tmp_path / "keys.sqlite")) as at:
        large = request_bytes("POST", LOGIN, b"x" * (MAX_LOGIN_BYTES + 1))
        assert b" 413 " in (await at.raw(large)).split(b"\r\n")[0]
        assert at.gateway.bodies.budget.held(None) == 0


async def test_a_login_passes_those_that_wait(tmp_path: Path) -> None:
    """Strangers who keep the whole budget with logins they never send keep no honest one out."""
    gateway = guarded(None)
    gateway.bodies = Bodies(BodyBudget(strangers_bytes=MAX_LOGIN_BYTES))
    async with serve(gateway=gateway) as at, at.connection() as (_, writer):
        writer.write(request_bytes("POST", LOGIN, b"x" * 200)[:-1])
        async with asyncio.timeout(30):
            while not gateway.bodies.budget.held(None):
                await asyncio.sleep(0.01)
        assert await log_in(at, "alice", "pass-of-alice") == 200


async def test_a_reload_that_requires_keys(tmp_path: Path) -> None:
    """From the reload on nobody is let in without a key, also when the line is gone again."""
    gateway = guarded(tmp_path / "data" / "keys.sqlite")
    named = Config(server=ServerConfig(trusted_proxies=("127.0.0.1",)))
    async with serve(gateway=gateway) as at:
        assert (await at.ask(OPENAI)).status == 200
        assert await Reload(gateway, lambda: named)()
        assert (await at.ask(OPENAI, model="guide")).status == 401
        assert (await at.get("/readyz")).json["status"] == "keys missing"
        assert await Reload(gateway, Config)()
        assert (await at.ask(OPENAI, model="guide")).status == 401


async def test_a_head_without_an_end_is_cut(tmp_path: Path) -> None:
    """A client that goes on with headers is refused at 64 KiB, long before its time is over."""
    lines = b"".join(b"x-%d: %s\r\n" % (n, b"a" * 4_000) for n in range(40))
    async with serve(gateway=guarded(None)) as at, at.connection() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        sent = 0
        said = b""
        with contextlib.suppress(ConnectionError):
            while sent < len(lines) and not reader.at_eof():
                writer.write(lines[sent : sent + 8_192])
                sent += 8_192
                await asyncio.sleep(0.005)
            async with asyncio.timeout(30):
                said = await reader.read()
        assert said == b"" or said.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        assert sent <= 3 * MAX_HEAD_BYTES


async def test_made_up_accounts_do_not_flush_the_throttle() -> None:
    """After thousands of junk logins the guesser of an account still waits."""
    async with serve(gateway=guarded(None)) as at:
        first = [await log_in(at, "alice", f"wrong{n}") for n in range(8)]
        assert first.count(401) == 5
        junk = [await log_in(at, f"nobody{n}", "x" * 1_025) for n in range(300)]
        assert junk[-1] == 429  # the address, too, waits now
        again = [await log_in(at, "alice", f"again{n}") for n in range(5)]
        assert again.count(401) == 0


async def test_a_throttled_login_costs_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap answer comes first, and only known accounts' passwords are worth a hash."""
    logins = Logins(known := accounts())
    hashed = []
    verify = known.verify

    async def count(name: str, password: object) -> bool:
        hashed.append(name)
        return await verify(name, password)

    monkeypatch.setattr(known, "verify", count)
    for n in range(60):
        with pytest.raises(BerlinError):
            await logins.check("10.0.0.1", f"nobody{n}", Secret("x"))
    assert len(hashed) == 31


async def test_an_owner_logs_in_while_strangers_guess() -> None:
    """Guesses from one address lock nobody out who comes from another through the same proxy."""
    async with serve(gateway=guarded(None, "chat.example.com")) as at:
        host = {"Host": "chat.example.com"}
        bad = [
            await log_in(at, "alice", "no", X_Forwarded_For="203.0.113.66", **host)
            for _ in range(9)
        ]
        assert bad[-1] == 429
        good = await log_in(at, "alice", "pass-of-alice", X_Forwarded_For="198.51.100.7", **host)
        assert good == 200


async def test_a_known_address_is_not_held_up_by_guesses_elsewhere() -> None:
    """Whoever logged in before waits for their own wrong passwords only."""
    logins = Logins(accounts())
    await logins.check("10.0.0.9", "alice", Secret("pass-of-alice"))
    for n in range(150):
        with pytest.raises(BerlinError):
            await logins.check(f"10.1.{n // 250}.{n % 250}", "alice", Secret(""))
    with pytest.raises(BerlinError, match="wait"):
        await logins.check("10.2.0.1", "alice", Secret("pass-of-alice"))
    await logins.check("10.0.0.9", "alice", Secret("pass-of-alice"))


async def test_a_forwarded_request_is_never_of_this_machine(tmp_path: Path) -> None:
    """Without keys a proxy's requests are refused; pages for monitoring ask for the key."""
    keys = tmp_path / "keys.sqlite"
    async with serve(gateway=guarded(keys, "chat.example.com")) as at:
        assert (await at.ask(OPENAI)).status == 200
        for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            told = await at.ask(OPENAI, headers={name: "203.0.113.5"})
            assert (told.status, "berlin key add" in told.message) == (401, True)
        assert (await at.get("/metrics")).status == 200
        assert (await at.get("/metrics", **PROXIED)).status == 401
        assert (await at.get("/metrics", Host="evil.example")).status == 421
        at.key = make_key(keys, "k")
        await asyncio.sleep(0.3)
        assert (await at.get("/metrics", **PROXIED)).status == 200


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs another user")
async def test_a_tunnel_of_another_user_needs_a_key(tmp_path: Path) -> None:
    """Without keys, one that forwards bytes as they are is not served under a public name: its
    connection belongs to another user. The gateway's own user is served.
    """
    async with serve(gateway=guarded(tmp_path / "keys.sqlite", "chat.example.com")) as at:
        port = int(at.url.rpartition(":")[2])
        for user, status in ((0, b"200"), (61001, b"401")):
            with socket.socket() as tunnel:
                os.fchown(tunnel.fileno(), user, -1)
                tunnel.setblocking(False)
                await asyncio.get_running_loop().sock_connect(tunnel, ("127.0.0.1", port))
                reader, writer = await asyncio.open_connection(sock=tunnel)
                writer.write(b"GET /v1/models HTTP/1.1\r\nHost: chat.example.com\r\n\r\n")
                assert (await reader.readline()).split()[1] == status
                writer.close()


async def test_only_trusted_proxies_tell_addresses(tmp_path: Path) -> None:
    """Wrong keys count for the client that a trusted proxy names, and else for the peer."""
    keys = tmp_path / "keys.sqlite"
    make_key(keys, "k")
    async with serve(gateway=guarded(keys, proxies=("127.0.0.1",))) as at:
        for n in range(33):
            told = await at.ask(OPENAI, key="wrong", headers={"X-Forwarded-For": f"203.0.113.{n}"})
            assert told.status == 401
    async with serve(gateway=guarded(keys)) as at:
        told = [
            (
                await at.ask(OPENAI, key="wrong", headers={"X-Forwarded-For": f"203.0.113.{n}"})
            ).status
            for n in range(33)
        ]
        assert told == [401] * 31 + [429] * 2


@pytest.mark.parametrize("what", ["gone", "empty", "junk", "a folder", "a link to nothing"])
async def test_a_lost_file_of_keys_never_opens_the_gateway(tmp_path: Path, what: str) -> None:
    """Once there was a key, nobody gets in without one, also after a restart."""
    keys = tmp_path / "data" / "keys.sqlite"
    good = make_key(keys, "k")
    for file in keys.parent.glob("keys.sqlite*"):
        file.unlink()
    match what:
        case "empty":
            keys.touch(0o600)
        case "junk":
            keys.write_bytes(b"junk" * 2_000)
            keys.chmod(0o600)
        case "a folder":
            keys.mkdir()
        case "a link to nothing":
            keys.symlink_to(tmp_path / "nowhere")
    if what in ("junk", "a folder"):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            guarded(keys)  # it does not start: nobody gets in
        return
    gateway = guarded(keys)
    async with serve(gateway=gateway) as at:
        assert (await at.ask(OPENAI)).status in (401, 503)
        assert (await at.ask(OPENAI, key=good)).status in (401, 503)
        ready = await at.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "keys missing")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
async def test_a_first_key_of_another_user_closes_the_gateway(tmp_path: Path) -> None:
    """A gateway without keys, whose first key is added with sudo, does not stay open."""
    keys = tmp_path / "data" / "keys.sqlite"
    async with serve(gateway=guarded(keys)) as at:
        assert (await at.ask(OPENAI)).status == 200
        make_key(keys, "k")
        os.chown(keys, 12_345, 12_345)
        await asyncio.sleep(0.3)
        assert (await at.ask(OPENAI)).status in (401, 503)


async def test_keys_that_are_looked_for_elsewhere(tmp_path: Path) -> None:
    """The note beside the configuration remembers keys that another data folder has."""
    cli = Cli(tmp_path).configure("[server]\nport = 0\n")
    assert (await cli.run("key", "add", "k")).code == 0
    async with serving(cli) as (process, at):
        assert (await at.ask(OPENAI, model="guide")).status == 401
        await stopped(process)
    assert (cli.config.parent / NAME).exists()
    cli.environ["XDG_DATA_HOME"] = str(tmp_path / "elsewhere")
    async with cli.start("serve", "--port", "0") as process, client() as session:
        assert "every request is refused" in await hears(process, "keys missing")
        url = (await hears(process, "serving")).partition(" on ")[2].split()[0]
        at = At(url, session, None)  # it is not in this process
        assert (await at.ask(OPENAI, model="guide")).status == 401
        assert (await at.get("/readyz")).json["status"] == "keys missing"
        await stopped(process)


@pytest.mark.parametrize("line", ["require_keys = true", 'trusted_proxies = ["127.0.0.1"]'])
async def test_keys_that_the_configuration_requires(tmp_path: Path, line: str) -> None:
    """It does not start without a key, and says how to add one."""
    cli = Cli(tmp_path).configure(f"[server]\nport = 0\n{line}\n")
    refused = await cli.run("serve")
    assert (refused.code, "berlin key add NAME" in refused.err) == (2, True)


async def test_a_needed_redis_that_is_away(tmp_path: Path) -> None:
    """Without the store that every request needs it is not ready, and says so."""
    store = f"store = 'unix://{tmp_path}/no.sock'\nkey = '0123456789abcdef'\non_failure = 'error'"
    cli = Cli(tmp_path).configure(f"[server]\nport = 0\n[tokens]\n{store}\n")
    async with serving(cli) as (process, at):
        ready = await at.get("/readyz")
        assert (ready.status, ready.json["status"]) == (503, "token store unavailable")
        assert (await at.get("/healthz")).status == 200
        await stopped(process)


async def test_bodies_of_one_client_are_bounded(tmp_path: Path) -> None:
    """A key that sends more than its budget gets 429; another key is not held up by it."""
    keys = tmp_path / "keys.sqlite"
    one, two = make_key(keys, "one"), make_key(keys, "two")
    gateway = guarded(keys)
    gateway.bodies = Bodies(BodyBudget(client_bytes=1_000_000))
    body = json.dumps(OPENAI.body("x" * 700_000, "s:m1", False)).encode()
    async with serve(gateway=gateway) as at, at.connection() as (_, writer):
        head = request_bytes("POST", OPENAI.path, b"x" * 800_000, f"Authorization: Bearer {one}")
        writer.write(head[:-1])  # one byte is missing
        async with asyncio.timeout(30):
            while not sum(gateway.bodies.budget._held.values()):
                await asyncio.sleep(0.01)
        assert (await at.post(OPENAI, body, key=one)).status == 429
        assert (await at.post(OPENAI, body, key=two)).status == 200
