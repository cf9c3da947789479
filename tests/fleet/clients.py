"""The clients of the fleet: many keys, several dialects, and a quarter of them leaves."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Callable

import aiohttp
import msgspec

from fleet.host import Host
from support.gateway import ANTHROPIC, OPENAI, Dialect

LEAVES = 0.25
AT_ONCE = 48
TIMEOUT_S = 60.0


class Outcome(msgspec.Struct):
    """The outcome of a request.

    Attributes:
        host: the number of the host.
        key: the name of the key.
        began_at: on the monotonic clock.
        ended_at: on the monotonic clock.
        id: the gateway's id, if the head of the answer came.
        status: the HTTP status, if one came.
        kind: `whole`, `left`, `refused`, `cut`, or `failed`: no answer at all.
        why: what went wrong.
    """

    host: int
    key: str
    began_at: float
    ended_at: float = 0.0
    id: str = ""
    status: int = 0
    kind: str = ""
    why: str = ""


class Clients:
    """Sends requests until there are enough.

    Args:
        hosts: the gateways.
        keys: the keys by name.
        count: how many requests are sent.
        chance: the randomness.

    Attributes:
        outcomes: what came of each.
    """

    def __init__(
        self, hosts: list[Host], keys: dict[str, str], count: int, chance: random.Random
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._hosts = hosts
        self._keys = keys
        self._names = list(keys)
        self._count = count
        self._chance = chance
        self._numbers = itertools.count()

    @property
    def share_done(self) -> float:
        """Which share of the requests has ended."""
        return len(self.outcomes) / self._count

    async def run(self, until: Callable[[], bool] = lambda: True) -> None:
        """Send all requests, and more until something is true."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def work() -> None:
                while (number := next(self._numbers)) < self._count or not until():
                    await self._send(session, number)
                    if number >= self._count:  # the attack takes its time: no need to hurry
                        await asyncio.sleep(0.2)

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    async def _send(self, session: aiohttp.ClientSession, number: int) -> None:
        chance = self._chance
        host, name = chance.choice(self._hosts), chance.choice(self._names)
        dialect = chance.choice((OPENAI, OPENAI, ANTHROPIC))
        leaves = chance.random() < LEAVES
        outcome = Outcome(host.number, name, time.monotonic())
        more = [f"w{number}-{n}" for n in range(chance.randint(2, 14))]
        words = " ".join([name, repr(outcome.began_at), *more])
        try:
            async with session.post(
                host.url + dialect.path,
                data=json.dumps(dialect.body(words, "house:m1", True)),
                headers={
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self._keys[name]}",
                },
            ) as answer:
                outcome.id = answer.headers.get("x-request-id", "")
                outcome.status = answer.status
                if answer.status != 200:
                    outcome.kind, outcome.why = "refused", (await answer.text())[:200]
                elif leaves:
                    await asyncio.sleep(chance.random() * 0.15)
                    outcome.kind = "left"
                    answer.close()
                else:
                    _judge(outcome, dialect, await answer.read(), words)
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            outcome.kind = "cut" if outcome.status else "failed"
            outcome.why = repr(error)[:200]
        outcome.ended_at = time.monotonic()
        self.outcomes.append(outcome)


def _judge(outcome: Outcome, dialect: Dialect, data: bytes, words: str) -> None:
    whole = dialect.is_whole(data) and "".join(dialect.pieces(data)) == f"{words} "
    outcome.kind = "whole" if whole else "cut"
    outcome.why = "" if whole else data[-200:].decode("utf-8", "replace")
