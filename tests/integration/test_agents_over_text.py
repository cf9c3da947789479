"""A small agent fixes a bug through the gateway and a service that knows only text.

`make agents` does the same with the agents of others; here the agent is a loop over each protocol.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from agents.service import RECIPES, Service, open_service
from agents.task import PROMPT, problems_of, write_repository
from berlin.client import Berlin
from berlin.config import Overrides, resolve_settings
from berlin.config.load import load_config
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.catalog import Catalog
from berlin.gateway.catalog import Service as Offered
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.routing.tools_over_text.offer import Offer
from berlin.types import ChatRequest
from berlin.workbench.fake import CREDENTIALS

SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
MAX_TURNS = 12

# What the agents of others send besides, with every request.
OF_CLAUDE_CODE = {
    "max_tokens": 32_000,
    "metadata": {"user_id": '{"device_id": "d", "account_uuid": "", "session_id": "s"}'},
    "thinking": {"type": "adaptive"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "output_config": {"effort": "high"},
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
}
OF_CODEX = {
    "store": False,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "reasoning": {"summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "s",
    "client_metadata": {"session_id": "s"},
}


@asynccontextmanager
async def _text_only(folder: Path, recipe: str) -> AsyncIterator[tuple[Service, str]]:
    """Give the service and the URL of a gateway over it."""
    (folder / "text-only.toml").write_text(recipe)
    config = folder / "berlin.toml"
    config.write_text('[providers.work]\nrecipe = "text-only.toml"\n')
    assert CREDENTIALS.password is not None
    async with open_service(recipe) as service:
        given = Overrides(
            url=service.url,
            account=CREDENTIALS.account,
            password=CREDENTIALS.password.reveal(),
        )
        settings = resolve_settings("work", load_config(config), given)
        provider = Berlin.from_settings(settings)
        offered = Offered("work", provider, any_model=True, session_headers=())
        async with open_server(Gateway(Catalog([offered])), Accounts(), grace_s=0) as url:
            yield service, url
        await provider.aclose()


async def _run(command: str, folder: Path) -> str:
    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", command], cwd=folder, capture_output=True, text=True
    )
    return done.stdout + done.stderr


async def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with ClientSession() as session, session.post(url, json=body) as answer:
        got: dict[str, Any] = await answer.json()
        assert answer.status == 200, got
        return got


async def _with_chat_completions(url: str, folder: Path) -> str:
    tool = {"name": "Bash", "description": "Runs a command.", "parameters": SCHEMA}
    messages: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    for _ in range(MAX_TURNS):
        body = {
            "model": "work",
            "messages": messages,
            "tools": [{"type": "function", "function": tool}],
        }
        answer = await _post(f"{url}/v1/chat/completions", body)
        said = answer["choices"][0]["message"]
        messages.append(said)
        if not said.get("tool_calls"):
            return str(said["content"])
        for call in said["tool_calls"]:
            arguments = json.loads(call["function"]["arguments"])
            told = await _run(arguments["command"], folder)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": told})
    raise AssertionError("it never came to an end")


async def _with_messages(url: str, folder: Path) -> str:
    tool = {"name": "Bash", "description": "Runs a command.", "input_schema": SCHEMA}
    messages: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    for _ in range(MAX_TURNS):
        body = {**OF_CLAUDE_CODE, "model": "work", "messages": messages, "tools": [tool]}
        answer = await _post(f"{url}/v1/messages", body)
        messages.append({"role": "assistant", "content": answer["content"]})
        calls = [part for part in answer["content"] if part["type"] == "tool_use"]
        if not calls:
            return "".join(part.get("text", "") for part in answer["content"])
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": await _run(call["input"]["command"], folder),
            }
            for call in calls
        ]
        messages.append({"role": "user", "content": results})
    raise AssertionError("it never came to an end")


async def _with_responses(url: str, folder: Path) -> str:
    tool = {
        "type": "function",
        "name": "Bash",
        "description": "Runs a command.",
        "parameters": SCHEMA,
        "strict": False,
    }
    items: list[dict[str, Any]] = [{"role": "user", "content": PROMPT}]
    for _ in range(MAX_TURNS):
        tools = [tool, {"type": "web_search", "external_web_access": True}]
        body = {**OF_CODEX, "model": "work", "input": items, "tools": tools}
        answer = await _post(f"{url}/v1/responses", body)
        items += answer["output"]
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        if not calls:
            return str(answer["output"][-1]["content"][0]["text"])
        for call in calls:
            told = await _run(json.loads(call["arguments"])["command"], folder)
            items.append(
                {"type": "function_call_output", "call_id": call["call_id"], "output": told}
            )
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("agent", [_with_chat_completions, _with_messages, _with_responses])
async def test_an_agent_fixes_a_bug_through_text(agent: Any, tmp_path: Path) -> None:
    """The test is green at the end, through each protocol, in one conversation of the service."""
    repository = tmp_path / "repository"
    write_repository(repository)
    async with _text_only(tmp_path, RECIPES["text-only"]) as (service, url):
        last = await agent(url, repository)
    assert problems_of(repository) == []
    assert "The test passes" in last
    assert "tool:" not in last
    assert service.mind.conversations == 1
    assert service.mind.calls >= 3
    assert service.failed == []
    assert service.logins == 1 + service.expired


async def test_an_agent_over_a_service_that_keeps_nothing(tmp_path: Path) -> None:
    """Where each request has to bring its whole history, with the tools, it works as well."""
    recipe = RECIPES["text-only"].replace('form = "last"', 'form = "prompt"')
    recipe = recipe.replace("[conversations]", "").replace(
        ', conversation = "{conversation_id}"', ""
    )
    repository = tmp_path / "repository"
    write_repository(repository)
    async with _text_only(tmp_path, recipe) as (service, url):
        last = await _with_chat_completions(url, repository)
    assert problems_of(repository) == []
    assert "The test passes" in last
    assert service.mind.conversations == service.mind.turns
    assert service.failed == []


async def test_the_wording_comes_from_the_configuration(tmp_path: Path) -> None:
    """A table of the provider replaces the words of the recipe: the model is told so and obeys."""
    (tmp_path / "text-only.toml").write_text(RECIPES["text-only"])
    config = tmp_path / "berlin.toml"
    config.write_text(
        '[providers.work]\nrecipe = "text-only.toml"\n'
        '[providers.work.tool_prompt]\nfence = "use/{name}"\nreminder = ""\n'
    )
    settings = resolve_settings("work", load_config(config), Overrides(url="http://127.0.0.1:1"))
    assert settings.recipe.tool_prompt.fence == "use/{name}"
    offer = Offer.of(ChatRequest.of("Hi"), settings.recipe.tool_prompt)
    assert offer.write_call("Bash", "{}") == "```use/Bash\n{}\n```"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_dropped_is_in_a_header(tmp_path: Path, stream: bool) -> None:
    """Ignored tools, tools that only a vendor runs, and options without a place are named."""
    function = {"type": "function", "function": {"name": "Bash", "parameters": SCHEMA}}
    body = {
        "model": "work",
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [function],
        "temperature": 0.5,
        "stream": stream,
    }
    ignoring = f'tools = "ignore"\n{RECIPES["text-only"]}'
    for recipe, named in (
        (ignoring, {"tools", "temperature"}),
        (RECIPES["text-only"], {"temperature"}),
    ):
        async with (
            _text_only(tmp_path, recipe) as (_, url),
            ClientSession() as session,
            session.post(f"{url}/v1/chat/completions", json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            assert set(answer.headers["x-berlin-dropped"].split(", ")) == named
