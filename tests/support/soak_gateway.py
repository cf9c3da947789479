"""The gateway of the soak: what the file configures, and a scripted service beside it.

    python soak_gateway.py berlin.toml

It prints its URL, then its state as a line of JSON for each line that it reads, until the end of
its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import uvloop

from berlin.config import load_config
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.serving.server import open_server
from berlin.gateway.setup import build_gateway
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    ChatRequest,
    Finished,
    ReasoningDelta,
    Secret,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageReport,
)
from support.face import PASSWORDS

PAUSE_S = 0.002


class Echo(ScriptedProvider):
    """Says the prompt again, with a thought before and a tool call after it; keeps nothing."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream the prompt, word by word."""
        yield [ReasoningDelta("hm")]
        for word in request.messages[-1].text.split(" "):
            await asyncio.sleep(PAUSE_S)
            yield [TextDelta(f"{word} ")]
        yield [ToolCallDelta(0, "call_a", "f", '{"x":1}'), UsageReport(Usage(3, 4)), Finished()]


def state() -> dict[str, int]:
    """Return what the process holds now."""
    status = Path("/proc/self/status").read_text()
    [resident] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "resident_kib": int(resident.split()[1]),
    }


async def main(config: Path) -> None:
    """Serve until the input ends."""
    settings = load_config(config)
    gateway = build_gateway(settings, None)
    services = [*gateway.catalog.services.values(), Service("scripted", Echo(), ["m1"])]
    gateway.catalog = Catalog(services)
    accounts = Accounts()
    accounts.add("alice", Secret(PASSWORDS["alice"]))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    async with open_server(gateway, accounts) as url:
        print(url, flush=True)
        while await lines.readline():
            told = {**state(), "open_answers": gateway.streams.open.now}
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1])))
