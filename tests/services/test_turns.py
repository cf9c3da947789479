"""Agents of other people over three tool turns, each with reasoning and two calls at once.

The service behind the gateway gives opaque state with each turn and refuses a history without it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.gateway.catalog import Service
from support.gateway import described_provider, serve
from support.thinking import CITIES, LAST, TURNS, Thinking, thinking_service

from .support.programs import NODE, PYTHON, SERVICES, run

FORMATS = {
    "openai": "openai-chat",
    "anthropic": "anthropic-messages",
    "ollama": "ollama-chat",
    "responses": "openai-responses",
}
# What a client itself does not keep of OpenAI's chat completions: it would not work with such a
# service either if it asked it directly.
LOSES = {
    "langchain": {"reasoning", "signatures"},
    "pydantic_ai": {"signatures"},
}
PAIRS = [
    ("openai", "openai"),
    ("openai-node", "openai"),
    ("anthropic", "anthropic"),
    ("ollama", "ollama"),
    ("ai-sdk", "openai"),
    ("langchain", "openai"),
    ("pydantic_ai", "openai"),
    ("responses", "responses"),
    ("openai_agents", "responses"),
    ("ai-sdk responses", "responses"),
    ("langchain responses", "responses"),
]


@pytest.mark.parametrize("mode", ["whole", "stream"])
@pytest.mark.parametrize(("client", "dialect"), PAIRS)
async def test_three_turns(client: str, dialect: str, mode: str, tmp_path: Path) -> None:
    """The service gets back what it gave: reasoning, signatures, ids, arguments and results."""
    service = Thinking(dialect, frozenset(LOSES.get(client, ())))
    name, *more = client.split()
    program = SERVICES / "clients" / f"turns_{name}.py"
    if not program.exists():
        program = SERVICES / "clients" / "node" / f"turns-{name.removesuffix('-node')}.mjs"
    interpreter = NODE if program.suffix == ".mjs" else PYTHON
    async with thinking_service(service) as upstream:
        provider = described_provider(upstream, FORMATS[dialect])
        async with serve(Service("s", provider, ["m"])) as at:
            told = await run(tmp_path, interpreter, program, at.url, "none", "s", *more, mode)
    assert service.faults == []
    assert told[0] == 0, told[2][-3000:]
    assert f'"{LAST}"' in told[1]
    assert told[1].count('"Paris"') == told[1].count('"Rome"') == TURNS
    assert service.turns == list(range(TURNS + 1))
    assert len(CITIES) == 2
