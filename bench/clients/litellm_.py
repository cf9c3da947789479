"""LiteLLM as a library."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it asks the internet

import litellm
from rounds import Ask, run

litellm.telemetry = False
MESSAGES = [{"role": "user", "content": "x"}]


async def open_client(url: str) -> Ask:
    async def read(load: str) -> str:
        stream = await litellm.acompletion(
            model="openai/bench",
            messages=MESSAGES,
            stream=True,
            api_base=f"{url}/{load}/v1",
            api_key="bench",
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    return read


run(open_client)
