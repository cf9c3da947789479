"""The gateway as a process: how it stops, reloads and logs (G26, G27, G30 to G32)."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from secrets import token_hex

import pytest

from support.cli import Cli, reader
from support.fault_server import FaultServer
from support.fault_steps import Script, Send, WaitFor, begin_stream, chunk
from support.gateway import LAST_FRAME, OPENAI, RECIPE, WITH_KEYS, Dialect, frame
from support.gateway_process import ask, client, rest_of

SSE = "Content-Type: text/event-stream"
GOOD: Script = (*begin_stream(frame("Hello"), LAST_FRAME, headers=(SSE,)), Send(b"0\r\n\r\n"))


def describe(cli: Cli, url: str, server: str = "", provider: str = "") -> Cli:
    """Write a configuration with one service, `s`, that speaks the OpenAI format."""
    cli.configure(
        f"[server]\n{server}\n[providers.s]\nrecipe = 's.toml'\napi_key = 'k'\n"
        f"models = ['m1']\n{provider}\n"
    )
    cli.config.chmod(0o600)
    recipe = RECIPE.format(name="s", url=url, format="openai-chat")
    (cli.config.parent / "s.toml").write_text(recipe, "utf-8")
    return cli


@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_g26_sigterm_with_an_open_stream(dialect: Dialect, tmp_path: Path) -> None:
    """It says that it takes no more, lets the stream end, and exits 0."""
    go_on = asyncio.Event()
    begin = begin_stream(frame("one"), headers=(SSE,))
    script = (
        *begin,
        WaitFor(go_on),
        Send(chunk(frame("two"))),
        Send(chunk(LAST_FRAME)),
        Send(b"0\r\n\r\n"),
    )
    async with FaultServer(script) as server, client() as session:
        cli = describe(Cli(tmp_path), f"{server.url}/{token_hex(6)}", "grace_s = 15")
        async with cli.serve() as (process, url):
            body = dialect.body("Hi", "s:m1", True)
            async with asyncio.timeout(30), session.post(url + dialect.path, json=body) as answer:
                first = await answer.content.readuntil(b"\n")
                process.send_signal(signal.SIGTERM)
                await reader(process.stderr).readuntil(b"berlin: stopping\n")
                ready = 200
                while ready != 503:
                    async with session.get(url + "/readyz") as page:
                        ready = page.status
                async with session.get(url + "/healthz") as alive:
                    assert alive.status == 200
                status, refused = await ask(session, url, dialect)
                assert status == 503, refused
                go_on.set()
                data = first + await answer.read()
            assert "".join(dialect.pieces(data)) == "onetwo"
            assert dialect.is_whole(data)
            assert await rest_of(process) == (0, "")


async def test_g26_requests_in_the_line_may_end_too(tmp_path: Path) -> None:
    """A request that waited for its turn when SIGTERM came gets its answer within the grace."""
    go_on = asyncio.Event()
    begin = begin_stream(frame("one"), headers=(SSE,))
    slow = (*begin, WaitFor(go_on), Send(chunk(LAST_FRAME)), Send(b"0\r\n\r\n"))
    late = (*begin, Send(chunk(frame("two"))), Send(chunk(LAST_FRAME)), Send(b"0\r\n\r\n"))
    async with FaultServer(slow, late) as server, client() as session:
        url_of = f"{server.url}/{token_hex(6)}"
        cli = describe(Cli(tmp_path), url_of, "grace_s = 15", "at_once = 1")
        async with cli.serve() as (process, url):
            first = asyncio.create_task(ask(session, url))
            async with asyncio.timeout(30):
                while not server.requests:
                    await asyncio.sleep(0.01)
            second = asyncio.create_task(ask(session, url))
            async with asyncio.timeout(30):
                page = b""
                while b'berlin_waiting{provider="s"} 1.0' not in page:
                    async with session.get(url + "/metrics") as metrics:
                        page = await metrics.read()
            process.send_signal(signal.SIGTERM)
            await reader(process.stderr).readuntil(b"berlin: stopping\n")
            go_on.set()
            answers = await asyncio.gather(first, second)
            assert [OPENAI.is_whole(data) for _, data in answers] == [True, True]
            assert (await rest_of(process))[0] == 0


@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_g27_end_of_the_grace(dialect: Dialect, tmp_path: Path) -> None:
    """When the grace is over, open answers end with an error that says why; exit 0."""
    never = asyncio.Event()
    script = (*begin_stream(frame("one"), headers=(SSE,)), WaitFor(never))
    async with FaultServer(script) as server, client() as session:
        cli = describe(Cli(tmp_path), f"{server.url}/{token_hex(6)}", "grace_s = 0.3")
        async with cli.serve() as (process, url):
            body = dialect.body("Hi", "s:m1", True)
            async with session.post(url + dialect.path, json=body) as answer:
                data = await answer.content.readuntil(b"one")
                process.send_signal(signal.SIGTERM)
                data += await answer.read()
            assert "stopping" in dialect.error_in(data)
            assert not dialect.is_whole(data)
            assert (await rest_of(process))[0] == 0
        assert await server.connections[-1].left_by_client()


BAD_CONFIGS = {
    "no TOML": "[server\n",
    "unknown member": "[server]\nprot = 1\n",
    "wrong type": "[server]\nport = 'x'\n",
    "no such recipe": "[providers.s]\nrecipe = 'gone.toml'\n",
    "alias to nothing": "[aliases]\na = 'nobody:x'\n",
    "file URL": "[providers.s]\nurl = 'file:///etc/passwd'\naccount = 'a'\npassword = 'b'\n",
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
async def test_g30_bad_configuration_on_reload(case: str, tmp_path: Path) -> None:
    """The old one is kept, with one clear line; a good one is taken up after it."""
    async with FaultServer(GOOD) as server, client() as session:
        url_of = f"{server.url}/{token_hex(6)}"
        cli = describe(Cli(tmp_path), url_of)
        good = cli.config.read_bytes()
        async with cli.serve() as (process, url):
            assert (await ask(session, url))[0] == 200
            cli.config.write_bytes(BAD_CONFIGS[case].encode("utf-8", "surrogateescape"))
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(30):
                said = (await reader(process.stderr).readline()).decode()
            assert "config.kept" in said
            assert "Traceback" not in said
            assert (await ask(session, url))[0] == 200
            cli.config.write_bytes(good + b"[aliases]\nfresh = 's:m1'\n")
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(30):
                while "config.loaded" not in said:
                    said = (await reader(process.stderr).readline()).decode()
            assert (await ask(session, url, model="fresh"))[0] == 200
            process.terminate()
            assert (await rest_of(process))[0] == 0


async def test_g30_reload_without_a_signal(tmp_path: Path) -> None:
    """A changed file is seen without a signal, and an open answer goes on with its provider."""
    go_on = asyncio.Event()
    begin = begin_stream(frame("one"), headers=(SSE,))
    slow = (
        *begin,
        WaitFor(go_on),
        Send(chunk(frame("two"))),
        Send(chunk(LAST_FRAME)),
        Send(b"0\r\n\r\n"),
    )
    async with FaultServer(slow) as old, FaultServer(GOOD) as new, client() as session:
        cli = describe(Cli(tmp_path), f"{old.url}/{token_hex(6)}")
        async with cli.serve() as (process, url):
            asking = asyncio.create_task(ask(session, url))
            async with asyncio.timeout(30):
                while not old.requests:
                    await asyncio.sleep(0.01)
            describe(cli, f"{new.url}/{token_hex(6)}")
            async with asyncio.timeout(30):
                said = (await reader(process.stderr).readline()).decode()
            assert "config.loaded" in said
            assert (await ask(session, url))[0] == 200
            assert len(new.requests) == 1
            go_on.set()
            assert "".join(OPENAI.pieces((await asking)[1])) == "onetwo"
            assert await old.connections[0].left_by_client()  # it is closed after that
            assert process.returncode is None


async def test_g31_log_that_cannot_be_opened(tmp_path: Path) -> None:
    """A log in a folder that is not there is told at the start, in one line."""
    cli = Cli(tmp_path).configure("[server]\naccess_log = '/nowhere/at/all.log'\n")
    refused = await cli.run("serve", "--port", "0")
    assert (refused.code, refused.out) == (2, "")
    assert "/nowhere/at/all.log" in refused.err
    assert refused.err.count("\n") == 1


async def test_g31_log_on_a_full_disk(tmp_path: Path) -> None:
    """With a full disk for the log the process goes on and says so once."""
    cli = Cli(tmp_path).configure("[server]\naccess_log = '/dev/full'\n")
    async with cli.serve() as (process, url), client() as session:
        for _ in range(10):
            assert (await ask(session, url, model="guide"))[0] == 200
        process.terminate()
        code, said = await rest_of(process)
    assert code == 0
    assert said.count("access_log.lost") == 1
    assert "Traceback" not in said


async def test_g31_log_lines_of_a_process(tmp_path: Path) -> None:
    """Each request is a line of JSON by the time that the process has ended."""
    path = tmp_path / "access.log"
    cli = Cli(tmp_path).configure(f"[server]\naccess_log = '{path}'\n")
    async with cli.serve() as (process, url), client() as session:
        for dialect in WITH_KEYS:
            assert (await ask(session, url, dialect, "guide"))[0] == 200
        process.terminate()
        assert (await rest_of(process))[0] == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["face"] for line in lines] == [dialect.face for dialect in WITH_KEYS]
    assert {(line["status"], line["outcome"], line["provider"]) for line in lines} == {
        (200, "ok", "guide")
    }
    assert path.stat().st_mode & 0o777 == 0o600


async def test_g32_port_in_use(tmp_path: Path) -> None:
    """It is told in one line, with an exit code that is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = await Cli(tmp_path).run("serve", "--port", str(port))
    assert (refused.code, refused.out) == (2, "")
    assert f"cannot listen on 127.0.0.1:{port}" in refused.err
    assert refused.err.count("\n") == 1
