"""The manual's configurations of nginx, in front of real gateways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from berlin.config import load_config
from berlin.gateway.setup import build_gateway
from support.chat_service import HANG, ChatService
from support.gateway import OPENAI, At, make_key, serve
from support.manual import code_blocks, read
from support.ports import free_port

from .support.nginx import nginx

ONE = code_blocks(read("docs/gateway.md"), "nginx")[0]
SEVERAL = code_blocks(read("docs/operations.md"), "nginx")[0]
SERVER = next(b for b in code_blocks(read("docs/gateway.md"), "toml") if "trusted_proxies" in b)
PROVIDER = """
[providers.s]
url = "{url}"
account = "account"
password = "password"
allow_http = true
models = ["m1"]
model = "m1"
"""


@asynccontextmanager
async def gateway(folder: Path, service: ChatService) -> AsyncIterator[At]:
    """Run a gateway with a key, configured as the manual says, and with an access log."""
    folder.mkdir(exist_ok=True)
    config = folder / "berlin.toml"
    log = SERVER.replace("[server]", f'[server]\naccess_log = "{folder}/access"')
    config.write_text(log + PROVIDER.format(url=service.url))
    config.chmod(0o600)
    keys = folder / "keys.sqlite"
    key = make_key(keys, "k")
    async with serve(gateway=build_gateway(load_config(config), keys)) as at:
        at.key = key
        yield at


def place(at: At) -> str:
    """Return host and port of a gateway."""
    return at.url.removeprefix("http://")


async def post(client: aiohttp.ClientSession, at: At) -> aiohttp.ClientResponse:
    """Ask for a streamed answer."""
    headers = {"Authorization": f"Bearer {at.key}", "Content-Type": "application/json"}
    body = json.dumps(OPENAI.body("Hi", "s:m1", True))
    return await client.post(OPENAI.path, data=body, headers=headers)


@pytest.mark.parametrize("block", [ONE, SEVERAL], ids=["one gateway", "several"])
async def test_streams_pass_unbuffered_and_end_with_the_client(tmp_path: Path, block: str) -> None:
    """The first piece arrives while the service is still writing; a client that leaves ends the
    request at the service."""
    async with (
        ChatService(("Hello", HANG)) as service,
        gateway(tmp_path / "g", service) as at,
        nginx(tmp_path, block, place(at), place(at)) as client,
    ):
        answer = await post(client, at)
        async with asyncio.timeout(30):
            read = b""
            while b"Hello" not in read:
                read += await answer.content.readany()
            assert answer.connection is not None
            assert answer.connection.transport is not None
            # As when a program ends: to close TLS in order would wait for nginx.
            answer.connection.transport.abort()
            while not service.closed:
                await asyncio.sleep(0.02)


async def test_clients_behind_nginx(tmp_path: Path) -> None:
    """Their address is the one that the proxies report, and none of them is local: without a key
    there is a 401."""
    async with (
        ChatService() as service,
        gateway(tmp_path / "g", service) as at,
        nginx(tmp_path, ONE, place(at)) as client,
    ):
        assert OPENAI.is_whole(await (await post(client, at)).read())
        behind = {"X-Forwarded-For": "203.0.113.9"}
        async with client.get("/v1/models", headers=behind) as refused:
            assert refused.status == 401
    lines = [json.loads(line) for line in (tmp_path / "g/access").read_text().splitlines()]
    assert [line["remote"] for line in lines] == ["127.0.0.1", "203.0.113.9"]


async def test_a_gateway_that_is_gone(tmp_path: Path) -> None:
    """Every request is answered by the other one, and none is sent twice."""
    gone = f"127.0.0.1:{free_port()}"
    async with (
        ChatService() as service,
        gateway(tmp_path / "g", service) as at,
        nginx(tmp_path, SEVERAL, gone, place(at)) as client,
    ):
        for _ in range(4):
            assert OPENAI.is_whole(await (await post(client, at)).read())
        assert len(service.chats) == 4
