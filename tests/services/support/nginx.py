"""nginx, with a configuration of the manual: only addresses and files are those of the test."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import trustme

from support.ports import free_port

READY_S = 20.0
HOST = "chat.example.com"
PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@asynccontextmanager
async def nginx(folder: Path, block: str, *gateways: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Run nginx in front of gateways, and give a client that calls it `chat.example.com`.

    Args:
        folder: for its files.
        block: the configuration in the manual.
        gateways: host and port of each gateway, in the order of the addresses in the block.
    """
    assert PROGRAM, "nginx is missing: apt-get install nginx-light"
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(folder / "pem")
    port = free_port()
    given = iter(gateways)
    block = re.sub(r"\b[\d.]+:4114", lambda _: next(given), block)
    block = re.sub(r"\n *ssl_certificate.*", "", block)
    pem = f"ssl_certificate {folder}/pem; ssl_certificate_key {folder}/pem;"
    block = block.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl; {pem}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; error_log stderr; pid {folder}/pid;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{block}\n}}\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"),
        stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(READY_S):
            while not await _listens(port):
                assert process.returncode is None, await _said(process)
                await asyncio.sleep(0.02)
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        connector = aiohttp.TCPConnector(ssl=trusted, resolver=_Resolver(port), use_dns_cache=False)
        async with aiohttp.ClientSession(
            f"https://{HOST}:{port}", connector=connector, headers={"Host": HOST}
        ) as session:
            yield session
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _said(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class _Resolver(aiohttp.abc.AbstractResolver):
    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port or self._port,
                "family": family,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self) -> None:
        """Nothing is open."""
