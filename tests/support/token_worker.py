"""One of many processes that share tokens: waits for a line, sends requests, tells how it went.

Its arguments are CONFIG ACCOUNT URL; each line on standard input is the number of requests to send
together, and each line on standard output is `{"good": …, "errors": [...], "seconds": …}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from berlin.client import Berlin
from berlin.config import Overrides, load_config, resolve_settings
from berlin.errors import BerlinError


async def main(config: str, account: str, url: str) -> None:
    given = Overrides(url=url, account=account, password=f"password of {account}")
    settings = resolve_settings("strict", load_config(Path(config)), given)
    async with Berlin.from_settings(settings) as berlin:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            began = time.monotonic()
            results = await asyncio.gather(*(one(berlin, account) for _ in range(int(line))))
            errors = [result for result in results if result]
            report = {
                "good": len(results) - len(errors),
                "errors": errors,
                "seconds": time.monotonic() - began,
            }
            print(json.dumps(report), flush=True)


async def one(berlin: Berlin, account: str) -> str:
    try:
        answer = await berlin.ask(account)
    except BerlinError as error:
        return repr(error)
    return "" if answer.text == account else f"the answer was {answer.text!r}"


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
