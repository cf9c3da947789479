"""Berlin as its users use it: the pieces of `text`, or `ask` for the whole."""

from __future__ import annotations

import sys

from rounds import Ask, run

from berlin import Berlin, ChatProvider
from berlin.config import Config, ProviderConfig
from berlin.opening import open_provider

KIND, MODE = sys.argv[2], sys.argv[3]


async def open_client(url: str) -> Ask:
    providers: dict[str, ChatProvider] = {}

    def provider(load: str) -> ChatProvider:
        if load not in providers:
            base = f"{url}/{load}"
            if KIND == "berlin":
                providers[load] = Berlin(base, "bench", "bench")
            else:
                service = ProviderConfig("openai", f"{base}/v1", api_key="bench")
                providers[load] = open_provider("bench", Config(providers={"bench": service}))
        return providers[load]

    async def read(load: str) -> str:
        return "".join([piece async for piece in provider(load).text("x", model="bench")])

    async def whole(load: str) -> str:
        return (await provider(load).ask("x", model="bench")).text

    return whole if MODE == "whole" else read


run(open_client)
