"""Services that a recipe describes: what is asked of them, and what comes of it.

recipe = describe('framing = "ndjson"\\ntext = "/t"')
async with scripted(tmp_path, recipe, stream(b'{"t":"Hello"}\\n')) as (server, berlin):
    told = await tell(berlin, "Hi")
assert told.text == "Hello"
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from berlin import BerlinError, ChatRequest, Timeouts
from berlin.client import Berlin
from berlin.config import Overrides, Settings, load_config, resolve_settings
from berlin.errors import InvalidRequestError
from berlin.types import Finished, ReasoningDelta, StreamEvent, TextDelta, Usage, UsageReport
from support.fault_server import FaultServer, SeenRequest
from support.fault_steps import Script, stream

HEAD = 'schema = 1\nname = "tested"\ndescription = "A service of the tests"\n'
ENDPOINT = '[endpoint]\nurl = "http://127.0.0.1:1"\n'
PROMPT = 'path = "/chat"\njson = { prompt = "{prompt}" }'
LINES = 'framing = "ndjson"\ntext = "/t"'
LOGIN = """
[auth]
flow = "login"
attach = { header = "token" }

[[auth.steps]]
path = "/login"
json = { a = "{account}", p = "{password}" }
take = { token = "/token" }
"""
ANN = {"account": "ann", "password": "correct-horse"}

# For what must not run into a limit, also on a busy machine.
PATIENT = {"connect": 10, "first_event": 20, "idle": 20, "total": 40}


def describe(
    stream: str = LINES,
    chat: str = PROMPT,
    *,
    auth: str = "",
    endpoint: str = ENDPOINT,
    more: str = "",
) -> str:
    """Return the text of a recipe.

    Args:
        stream: the table `[chat.stream]`.
        chat: the table `[chat]`, and what stands below it.
        auth: the table `[auth]`, with its head.
        endpoint: the table `[endpoint]`, with its head.
        more: further tables, with their heads.
    """
    return f"{HEAD}\n{endpoint}\n{auth}\n[chat]\n{chat}\n\n[chat.stream]\n{stream}\n{more}\n"


@dataclass
class Told:
    """What a request came to: events, and the error after them, if there was one."""

    events: list[StreamEvent] = field(default_factory=list)
    error: BerlinError | None = None

    @property
    def pieces(self) -> list[str]:
        """The pieces of text."""
        return [event.text for event in self.events if isinstance(event, TextDelta)]

    @property
    def text(self) -> str:
        """The text of an answer that did not fail."""
        if self.error is not None:
            raise self.error
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        """The reasoning of the answer."""
        return "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))

    @property
    def end(self) -> Finished:
        """The last event of an answer that did not fail."""
        if self.error is not None:
            raise self.error
        [end] = [event for event in self.events if isinstance(event, Finished)]
        assert self.events[-1] is end
        return end

    @property
    def usage(self) -> Usage | None:
        """What the answer has cost, as far as the service said."""
        reports = [event.usage for event in self.events if isinstance(event, UsageReport)]
        return reports[-1] if reports else None

    def failed_with(self, kind: type[BerlinError], *, after: str = "") -> str:
        """Assert the very class of the error, and the text before it; return its message."""
        assert self.error is not None, f"no error, but {self.events}"
        assert type(self.error) is kind, repr(self.error)
        assert "".join(self.pieces) == after
        return self.error.message


def write_provider(folder: Path, recipe: str, **more: object) -> Path:
    """Write a recipe, and a configuration with a provider `tested` that follows it.

    Args:
        folder: where to.
        recipe: the text of the recipe.
        more: members of the provider's table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tested.toml").write_text(recipe, encoding="utf-8")
    members = {"recipe": "tested.toml", **more}
    lines = [f"{name} = {_toml(value)}" for name, value in members.items()]
    config = folder / "berlin.toml"
    config.write_text("[providers.tested]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return config


def settings_of(
    folder: Path,
    recipe: str,
    url: str | None = None,
    *,
    environ: Mapping[str, str] = {},
    **more: Any,
) -> Settings:
    """Return the settings of `tested`; see `write_provider`. Without a URL, that of the recipe."""
    config = write_provider(folder, recipe, **more)
    where = {"BERLIN_CONFIG": str(config), **environ}
    return resolve_settings("tested", load_config(config), Overrides(url=url), where)


def open_provider(folder: Path, recipe: str, url: str | None = None, **more: Any) -> Berlin:
    """Return the provider `tested`; see `settings_of`."""
    return Berlin.from_settings(settings_of(folder, recipe, url, **more))


@asynccontextmanager
async def scripted(
    folder: Path, recipe: str, *scripts: Script, **more: Any
) -> AsyncIterator[tuple[FaultServer, Berlin]]:
    """Run a service that plays one script for each request, the last one for all further."""
    more = {"timeouts": PATIENT, **more}
    async with FaultServer(*scripts) as server:
        # Ports are used again, and tokens are kept by URL: no two services have the same.
        url = f"{server.url}/service-{token_hex(6)}"
        async with open_provider(folder, recipe, url, **more) as berlin:
            yield server, berlin


async def tell(berlin: Berlin, request: ChatRequest | str = "Hi", **more: Any) -> Told:
    """Send one request and collect all that comes of it."""
    told = Told()
    if isinstance(request, str):
        request = ChatRequest.of(request, **more)
    try:
        async with aclosing(berlin.stream(request)) as events:
            async for event in events:
                told.events.append(event)
    except BerlinError as error:
        told.error = error
    return told


async def told_by(
    folder: Path, stream_table: str, *parts: bytes, chat: str = PROMPT, **more: Any
) -> Told:
    """Return what one answer in these segments comes to."""
    recipe = describe(stream_table, chat)
    async with scripted(folder, recipe, stream(*parts, headers=())) as (_, berlin):
        return await tell(berlin, **more)


async def sent_for(
    folder: Path, chat: str, request: ChatRequest | str = "Hi", **more: Any
) -> SeenRequest:
    """Return what the service gets for a request, with the path as the recipe has it."""
    recipe = describe(chat=chat)
    async with scripted(folder, recipe, stream(b'{"t":"ok"}\n')) as (server, berlin):
        assert (await tell(berlin, request, **more)).text == "ok"
    [seen] = server.requests
    seen.target = below(seen)
    return seen


async def refused_for(folder: Path, chat: str, request: ChatRequest) -> str:
    """Return what is said of a request that must not be sent."""
    async with scripted(folder, describe(chat=chat), stream()) as (server, berlin):
        told = await tell(berlin, request)
    assert server.requests == []
    return told.failed_with(InvalidRequestError)


async def body_of(folder: Path, chat: str, messages: Any, **more: Any) -> Any:
    """Return the JSON that is sent for a conversation."""
    seen = await sent_for(folder, chat, ChatRequest.of(messages, **more))
    return json.loads(seen.body)


def below(seen: SeenRequest) -> str:
    """Return the target of a request below the service's own path."""
    return "/" + seen.target.split("/", 2)[2]


def limits(**seconds: float) -> Timeouts:
    """Return limits that nothing runs into but these."""
    return Timeouts(**{**PATIENT, **seconds})


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{n} = {_toml(v)}" for n, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
