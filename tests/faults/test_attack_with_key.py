"""What a key or an account must not do to others, nor see of the inside."""

from __future__ import annotations

import asyncio
import base64
import gc
import html
import itertools
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType

import aiohttp
import pytest

from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import ChatRequest, Finished, Secret, TextDelta
from support.cli import Cli
from support.face import CHAT, LOGIN, body
from support.fault_server import FaultServer
from support.fault_steps import Close, Script, Send, answer, stream
from support.gateway import BERLIN, OPENAI, Answer, described_provider, make_key, serve
from support.serving import described, hears, serving, stopped

KEY = 'key&1<CANARY>"of-the-gateway'


class Endless(ScriptedProvider):
    """Answers for as long as somebody reads."""

    open = 0

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream for ever."""
        self.open += 1
        try:
            yield [TextDelta("x")]
            await asyncio.Event().wait()
        finally:
            self.open -= 1


async def test_one_key_does_not_take_all_places(tmp_path: Path) -> None:
    """While one key has long answers wherever it may, another one is answered at once."""
    keys = tmp_path / "keys.sqlite"
    one, two = make_key(keys, "one"), make_key(keys, "two")
    provider = Endless()
    gateway = Gateway(Catalog([Service("s", provider, ["m1"])]), Guard(KeyReader(keys)))
    async with serve(gateway=gateway) as at:
        flood = [asyncio.create_task(at.ask(OPENAI, key=one, stream=True)) for _ in range(64)]
        async with asyncio.timeout(30):
            while provider.open < 48:
                await asyncio.sleep(0.02)
            late = asyncio.create_task(at.ask(OPENAI, key=two, stream=True))
            while provider.open < 49:
                await asyncio.sleep(0.02)
        for task in (*flood, late):
            task.cancel()
        await asyncio.gather(*flood, late, return_exceptions=True)


async def test_accounts_follow_the_rules_of_keys(tmp_path: Path) -> None:
    """Models, a limit of requests and an expiry hold for an account as they do for a key."""
    known = Accounts()
    known.add("alice", Secret("pw"), ["s:m1"], requests_per_minute=2)
    service = Service("s", ScriptedProvider(), ["m1", "m2"])
    async with (
        open_server(Gateway(Catalog([service])), known) as url,
        aiohttp.ClientSession() as session,
    ):
        given = {"account": "alice", "password": "pw"}
        async with session.post(url + LOGIN, json=given) as logged_in:
            token = (await logged_in.json())["data"]["token"]
        told = []
        for model in ("m2", "m1", "m1", "m1"):
            asked = body(model=model)
            async with session.post(url + CHAT, json=asked, headers={"token": token}) as said:
                told.append(said.status)
        assert told == [404, 200, 200, 429]


async def test_an_account_changes_while_the_gateway_runs(tmp_path: Path) -> None:
    """A new account logs in without a restart; a new password ends its sessions at once."""
    path = tmp_path / "data" / "accounts.json"
    seconds = itertools.count()  # a second between two uses: each looks at the file
    reader = AccountReader(path, monotonic=lambda: float(next(seconds)))
    gateway = Gateway(Catalog([Service("s", ScriptedProvider(), ["m1"])]))

    def add(password: str) -> dict[str, str]:
        known = Accounts.load(path)
        known.add("ann", Secret(password))
        known.save(path)
        return {"account": "ann", "password": password}

    async with open_server(gateway, reader) as url, aiohttp.ClientSession() as session:

        async def log_in(given: dict[str, str]) -> tuple[int, str]:
            async with session.post(url + LOGIN, json=given) as said:
                told = await said.json()
                return said.status, told["data"]["token"] if said.status == 200 else ""

        async def ask(token: str) -> int:
            named = {"token": token}
            async with session.post(url + CHAT, json=body(model="m1"), headers=named) as said:
                return said.status

        old = {"account": "ann", "password": "one"}
        assert (await log_in(old))[0] == 401
        status, token = await log_in(add("one"))
        assert (status, await ask(token)) == (200, 200)
        new = add("two")
        assert await ask(token) == 401
        assert (await log_in(old))[0] == 401
        assert (await log_in(new))[0] == 200


async def test_the_berlin_face_offers_no_other_models() -> None:
    """A model that is not offered is not asked for, whatever the face."""
    provider = ScriptedProvider()
    async with serve(Service("s", provider, ["cheap"])) as at:
        for model in ("expensive", "s:expensive"):
            assert (await at.ask(BERLIN, model=model)).status == 404
        assert provider.requests == []
        assert (await at.ask(BERLIN, model="cheap")).status == 200


@pytest.mark.parametrize("prompt", ["a\x0bb", "a\x00b", "a\r\nX: y", "a\x7fb", "a\x1b[31m"])
@pytest.mark.parametrize("place", ["headers", "query", "path"])
async def test_control_characters_on_their_way_out(tmp_path: Path, prompt: str, place: str) -> None:
    """From a prompt into a header they are a 400; in a query or path they are encoded."""
    cli = Cli(tmp_path)
    async with FaultServer(stream(b'{"content":"hi","done":true}\n')) as service:
        table = {
            "headers": 'path = "/c"\n[chat.headers]\nx-q = "{prompt}"',
            "query": 'path = "/c"\n[chat.query]\nq = "{prompt}"',
            "path": 'path = "/c/{prompt}"',
        }[place]
        text = (
            f'schema = 1\nname = "p"\ndescription = "x"\n[endpoint]\nurl = "{service.url}"\n'
            f'[auth]\nflow = "none"\n[chat]\n{table}\n[chat.json]\np = "{{prompt}}"\n'
            '[chat.stream]\nframing = "ndjson"\ntext = "/content"\n'
        )
        cli.configure('[providers.p]\nrecipe = "p.toml"\n[server]\nprovider = "p"\nport = 0\n')
        (cli.config.parent / "p.toml").write_text(text)
        async with serving(cli) as (process, at):
            said = await at.ask(OPENAI, prompt, model="p")
            assert said.status in ((400,) if place == "headers" else (200, 502)), said.data
            assert "Traceback" not in await stopped(process)


@pytest.mark.parametrize(
    "page",
    [
        KEY,
        html.escape(KEY),
        base64.b64encode(b"id:" + KEY.encode()).decode(),
        "".join(f"&#{ord(c)};" for c in KEY),
    ],
)
@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json"])
async def test_error_pages_do_not_tell_credentials(page: str, kind: str) -> None:
    """A page that repeats the gateway's key, however written, reaches the log masked at most."""
    shown = json.dumps({"error": page}) if kind == "application/json" else f"<p>{page}</p>"
    script = answer("500 X", shown.encode(), f"Content-Type: {kind}")
    async with FaultServer(script) as service:
        provider = described_provider(service.url, api_key=KEY)
        async with serve(Service("s", provider, ["m1"])) as at:
            said = (await at.ask(OPENAI)).data.decode()
    assert page not in said
    assert KEY not in html.unescape(said)


async def test_a_page_for_people_is_not_handed_on() -> None:
    """Of HTML, and of what is not HTTP, a client learns the class and the status."""
    page = answer("503 X", b"<h1>internal-name</h1>", "Content-Type: text/html")
    said = await what_a_client_reads(page)
    assert (said.status, "internal-name" in said.message) == (502, False)
    assert "503" in said.message
    said = await what_a_client_reads((Send(b"SSH-2.0-OpenSSH_9.6 banner\r\n\r\n"), Close()))
    assert said.status == 502
    assert "SSH" not in said.message
    assert "127.0.0.1" not in said.message


async def what_a_client_reads(script: Script) -> Answer:
    """Return the answer to a chat whose service does what a script says."""
    async with (
        FaultServer(script) as service,
        serve(Service("s", described_provider(service.url), ["m1"])) as at,
    ):
        return await at.ask(OPENAI)


async def test_a_whole_answer_has_a_limit() -> None:
    """A service that never ends does not fill the memory of a client that wants no stream."""
    provider = ScriptedProvider([TextDelta("x" * 1_000_000)] * 40 + [Finished()])
    async with serve(Service("s", provider, ["m1"])) as at:
        said = await at.ask(OPENAI)
        assert (said.status, said.json["error"]["code"]) == (502, "upstream_protocol")


async def test_a_failed_answer_is_freed_immediately() -> None:
    """Megabytes of an answer that failed do not wait for the collector of cycles."""
    provider = ScriptedProvider([TextDelta("x" * 1_000_000)] * 40 + [Finished()])
    async with serve(Service("s", provider, ["m1"])) as at:
        gc.collect()
        gc.disable()
        try:
            await at.ask(OPENAI)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            assert not any(isinstance(found, TracebackType) for found in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


async def test_a_million_models_do_not_slow_the_loop() -> None:
    """Unknown names and lists over many models leave the loop its turns."""
    from support.gateway_loop import never_blocked

    service = Service("s", ScriptedProvider(), [f"{'ab' * 40}{n}" for n in range(10_000)])
    async with serve(service) as at:
        async with never_blocked():
            assert (await at.ask(OPENAI, model="ba" * 40)).status == 404
        assert len((await at.get("/v1/models")).json["data"]) == 10_001
        assert (await at.get(f"/v1/models/s:{'ab' * 40}9999")).status == 200


async def test_an_empty_or_cut_configuration_is_none(tmp_path: Path) -> None:
    """While the file is empty or the beginning of what it was, the providers stay."""
    cli = Cli(tmp_path)
    async with FaultServer(answer(body=b"{}")) as service:
        first = described(cli, "one", service.url)
        whole = f"{first}\n{described(cli, 'two', service.url)}[server]\nport = 0\n"
        cli.configure(whole)
        async with serving(cli) as (process, at):
            for cut in ("", "\n", first):
                cli.config.write_text(cut)
                assert "config.kept" in await hears(process, "config.")
                assert len((await at.get("/v1/models")).json["data"]) == 5
            cli.config.write_text(whole.replace("two]", "three]"))
            assert "providers=guide,one,three" in await hears(process, "config.loaded")
            await stopped(process)


async def test_the_watcher_survives_what_it_reads(tmp_path: Path) -> None:
    """A NUL in the name of a recipe is one line in the log, and the next file is taken up."""
    cli = Cli(tmp_path)
    async with FaultServer(answer(body=b"{}")) as service:
        good = described(cli, "one", service.url) + "[server]\nport = 0\n"
        cli.configure(good)
        async with serving(cli) as (process, at):
            cli.configure(good + '[providers.x]\nrecipe = "wo\\u0000rk.toml"\n')
            assert "is not the name of a file" in await hears(process, "config.kept")
            cli.configure('[aliases]\nfast = "one:m1"\n' + good)
            await hears(process, "config.loaded")
            assert (await at.get("/v1/models/fast")).status == 200
            await stopped(process)
