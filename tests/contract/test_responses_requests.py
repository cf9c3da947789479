"""The Responses face: what clients ask, what is stored for them, and whose it is.

The templates are those of the Open Responses suite, with one that goes on from a response, in our
own words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from berlin import ChatRequest
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.stored.responses import StoredResponses
from berlin.providers.contract import Burst
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    Finished,
    ImagePart,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    ToolResultPart,
)
from support.answers import Said, upstream
from support.gateway import At, serve
from support.responses import Streamed, check_resource, read_stream

PATH = "/v1/responses"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}},
        "required": ["place"],
    },
}


class Careful(ScriptedProvider):
    """Answers with what it was told last, and calls a tool that it is offered once."""

    def __init__(self) -> None:
        super().__init__([])

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer."""
        self.requests.append(request)
        last = request.messages[-1].parts[-1]
        if request.tools and not isinstance(last, ToolResultPart):
            yield [ToolCallDelta(0, f"call_{len(self.requests)}", request.tools[0].name)]
            yield [ToolCallDelta(0, arguments='{"place": '), ToolCallDelta(0, arguments='"Köln"}')]
            yield [Finished("tool_calls")]
            return
        texts = [message.text for message in request.messages if message.text]
        yield [ReasoningDelta("hm"), TextDelta(f"{len(request.messages)}: "), TextDelta(texts[-1])]
        yield [Finished()]


def user(content: Any) -> dict[str, Any]:
    """Return a message of the user."""
    return {"type": "message", "role": "user", "content": content}


async def send(
    at: At, method: str = "POST", path: str = PATH, key: str = "", **members: Any
) -> tuple[int, Any]:
    """Send a request, and return the status and the JSON or the stream."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = {"model": "s:m1", **members} if method == "POST" else None
    url = at.url + path
    async with at.session.request(method, url, json=body, headers=headers) as answer:
        data = await answer.read()
        if answer.content_type == "text/event-stream":
            return answer.status, read_stream(data)
        return answer.status, json.loads(data)


TEMPLATES: dict[str, dict[str, Any]] = {
    "basic": {"input": [user("Say hello in three words.")]},
    "streaming": {"input": [user("Count to five.")], "stream": True},
    "system prompt": {
        "input": [
            {"type": "message", "role": "system", "content": "Talk like a pirate."},
            user("Say hello."),
        ]
    },
    "tool calling": {"input": [user("The weather in Köln?")], "tools": [WEATHER]},
    "tool calling, streaming": {
        "input": [user("The weather in Köln?")],
        "tools": [WEATHER],
        "stream": True,
    },
    "image input": {
        "input": [
            user(
                [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}"},
                ]
            )
        ]
    },
    "multi-turn": {
        "input": [
            user("I am Alice."),
            {"type": "message", "role": "assistant", "content": "Hello Alice."},
            user("Who am I?"),
        ]
    },
    "previous response": {"input": [user("And now?")]},
}


@pytest.mark.parametrize("name", TEMPLATES)
async def test_a_template_of_open_responses(name: str) -> None:
    """Each is answered with a whole response that has all its members, and is completed."""
    members = dict(TEMPLATES[name])
    provider = Careful()
    async with serve(Service("s", provider, ["m1"])) as at:
        if name == "previous response":
            _, before = await send(at, input=[user("Remember 7.")])
            members["previous_response_id"] = before["id"]
        status, got = await send(at, **members)
    assert status == 200
    response = got.response if isinstance(got, Streamed) else got
    check_resource(response)
    assert response["status"] == "completed"
    assert response["output"]
    kinds = [item["type"] for item in response["output"]]
    if "tools" in members:
        assert kinds == ["function_call"]
        assert json.loads(response["output"][0]["arguments"]) == {"place": "Köln"}
        assert response["tools"] == [{"strict": None, **WEATHER}]
    else:
        assert kinds == ["reasoning", "message"]
    if isinstance(got, Streamed) and "tools" in members:
        assert "response.function_call_arguments.delta" in got.kinds
    [*_, asked] = provider.requests
    match name:
        case "system prompt":
            assert asked.messages[0].role == "system"
        case "image input":
            assert any(isinstance(part, ImagePart) for part in asked.messages[0].parts)
        case "multi-turn" | "previous response":
            assert [message.role for message in asked.messages] == ["user", "assistant", "user"]
            assert response["previous_response_id"] == members.get("previous_response_id")


async def test_the_answer_repeats_what_was_asked() -> None:
    """Members of the request are members of the response; the others have their defaults."""
    members: dict[str, Any] = {
        "instructions": "Be brief",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "max_output_tokens": 64,
        "truncation": "auto",
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "store": False,
        "tool_choice": "none",
        "prompt_cache_key": "k",
    }
    async with serve(Service("s", Careful(), ["m1"])) as at:
        _, response = await send(at, input="Hi", **members)
        _, plain = await send(at, input="Hi")
    expected = {**members, "reasoning": {"effort": "low", "summary": None}}
    assert {name: response[name] for name in members} == expected
    assert (response["model"], plain["model"]) == ("s:m1", "s:m1")
    assert (plain["store"], plain["temperature"], plain["truncation"]) == (True, 1.0, "disabled")


async def test_a_conversation_of_three_turns_by_ids() -> None:
    """Each turn sends only what is new, and the service is asked with all of it."""
    provider = Careful()
    async with serve(Service("s", provider, ["m1"])) as at:
        _, first = await send(at, input="The weather?", tools=[WEATHER], instructions="Be brief")
        [call] = first["output"]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
        _, second = await send(
            at, input=[result], tools=[WEATHER], previous_response_id=first["id"], stream=True
        )
        status, third = await send(
            at, input="Thanks", previous_response_id=second.response["id"], instructions="Now long"
        )
    assert status == 200
    roles = [message.role for message in provider.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert provider.requests[-1].messages[0].text == "Now long"
    assert third["output"][-1]["content"][0]["text"] == "6: Thanks"


async def test_items_are_referred_to_by_their_ids() -> None:
    """A stored item stands for itself, as Vercel's SDK sends it."""
    provider = Careful()
    async with serve(Service("s", provider, ["m1"])) as at:
        _, first = await send(at, input="Hi")
        references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
        status, _ = await send(at, input=[user("Hi"), *references, user("Again")])
        missing, error = await send(at, input=[{"id": "msg_no"}])
    assert (status, missing) == (200, 400)
    assert "msg_no" in error["error"]["message"]
    assert [message.text for message in provider.requests[-1].messages] == ["Hi", "1: Hi", "Again"]


async def test_a_stored_response_is_shown_listed_and_deleted() -> None:
    """It is the same object, its input has ids, and after its end there is a 404."""
    async with serve(Service("s", Careful(), ["m1"])) as at:
        _, made = await send(at, input=[user("a"), user([{"type": "input_text", "text": "b"}])])
        path = f"{PATH}/{made['id']}"
        assert await send(at, "GET", path) == (200, made)
        status, listed = await send(at, "GET", f"{path}/input_items?order=asc&limit=1")
        after = f"{path}/input_items?order=asc&after={listed['last_id']}"
        _, rest = await send(at, "GET", after)
        wrong, _ = await send(at, "GET", f"{path}/input_items?limit=1000")
        cancelled, _ = await send(at, "POST", f"{path}/cancel")
        assert await send(at, "DELETE", path) == (
            200,
            {"id": made["id"], "object": "response", "deleted": True},
        )
        gone = [await send(at, method, path) for method in ("GET", "DELETE")]
        previous, error = await send(at, input="x", previous_response_id=made["id"])
    assert (status, wrong, cancelled) == (200, 400, 400)
    assert (listed["object"], listed["has_more"], rest["has_more"]) == ("list", True, False)
    texts = [item["content"][0]["text"] for item in (*listed["data"], *rest["data"])]
    assert texts == ["a", "b"]
    assert [status for status, _ in gone] == [404, 404]
    assert previous == 404
    assert error["error"]["code"] == "response_not_found"
    assert error["error"]["param"] == "previous_response_id"


async def test_a_response_is_only_for_the_key_that_asked(tmp_path: Path) -> None:
    """Another key reads, deletes and goes on from nothing; an id tells it nothing."""
    keys = KeyStore(tmp_path / "keys" / "keys.sqlite")
    alice, bob = (keys.add(name)[1].reveal() for name in ("alice", "bob"))
    async with serve(Service("s", Careful(), ["m1"]), keys=tmp_path / "keys" / "keys.sqlite") as at:
        _, made = await send(at, key=alice, input="secret")
        path = f"{PATH}/{made['id']}"
        tries = [
            await send(at, "GET", path, bob),
            await send(at, "GET", f"{path}/input_items", bob),
            await send(at, "DELETE", path, bob),
            await send(at, key=bob, input="x", previous_response_id=made["id"]),
        ]
        reference = {"type": "item_reference", "id": made["output"][0]["id"]}
        referred, _ = await send(at, key=bob, input=[reference])
        without, _ = await send(at, "GET", path)
        kept, _ = await send(at, "GET", path, alice)
    assert [status for status, _ in tries] == [404] * 4
    assert all("secret" not in json.dumps(body) for _, body in tries)
    assert (referred, without, kept) == (400, 401, 200)


@pytest.mark.parametrize("store", ["the request", "the gateway"])
async def test_what_is_not_to_be_stored_is_not(store: str) -> None:
    """`store: false`, or a gateway that keeps nothing: the response says so, and is gone."""
    gateway = Gateway(Catalog([Service("s", Careful(), ["m1"])]))
    members: dict[str, Any] = {"store": False}
    if store == "the gateway":
        gateway.stored = StoredResponses(None)
        members = {}
    async with serve(gateway=gateway) as at:
        _, made = await send(at, input="Hi", **members)
        status, _ = await send(at, "GET", f"{PATH}/{made['id']}")
    assert made["store"] is False
    assert status == 404


async def test_a_websocket_is_told_to_use_http() -> None:
    """426, which makes clients go on over HTTP; GET without one is a 405."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    async with serve(Service("s", Careful(), ["m1"])) as at:
        for path in (PATH, "/responses"):
            async with at.session.get(at.url + path, headers=headers) as answer:
                assert answer.status == 426
                assert (await answer.json())["error"]["code"] == "upgrade_required"
        async with at.session.get(at.url + PATH) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


CODEX: dict[str, Any] = {
    "input": [
        {"type": "message", "id": "msg_1", "role": "developer", "content": "You are a coder"},
        {**user("Look"), "id": "msg_2"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "close",
            "namespace": "agents",
            "arguments": "{}",
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "+x"},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
    ],
    "tools": [
        {"type": "function", "name": "exec", "strict": False, "parameters": {"type": "object"}},
        {
            "type": "namespace",
            "name": "agents",
            "description": "",
            "tools": [{"type": "function", "name": "close", "parameters": {"type": "object"}}],
        },
        {"type": "custom", "name": "patch", "description": "Edits"},
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "thread",
    "client_metadata": {"session_id": "session"},
    "stream": True,
}


@pytest.mark.parametrize("provider", ["openai", "anthropic", "ollama"])
async def test_what_codex_sends_reaches_services_of_other_dialects(provider: str) -> None:
    """Tools, calls and results are translated; what they cannot have is left out and named."""
    async with upstream(provider, Said(("Hello",))) as up, serve(up.service) as at:
        body = {"model": "s:m1", **CODEX}
        async with at.session.post(at.url + PATH, json=body) as got:
            data, headers = await got.read(), got.headers
            assert got.status == 200, data
    assert read_stream(data).response["status"] == "completed"
    [asked] = up.asked
    named = [tool.get("function", tool)["name"] for tool in asked["tools"]]
    assert named == ["exec", "agents__close", "patch"]
    text = json.dumps(asked)
    assert all(word in text for word in ("agents__close", "You are a coder", "+x", "done"))
    assert not any(word in text for word in ("msg_1", "gAAA", "ws_1", "thread", "session"))
    dropped = set(headers["x-berlin-dropped"].split(", "))
    assert {"web_search_call", "tools.web_search", "prompt_cache_key"} <= dropped
    reasoning = {"messages.reasoning", "reasoning.encrypted_content", "reasoning_effort"}
    assert len(dropped - reasoning - {"strict"}) == 3


async def test_hosted_tools_alone_are_refused_by_who_has_none() -> None:
    """Nothing is left to call: the client is told, and not answered without its tools."""
    async with upstream("openai", Said(("Hello",))) as up, serve(up.service) as at:
        status, got = await send(at, input="Hi", tools=[{"type": "web_search"}])
    assert (status, got["error"]["param"]) == (400, "tools")


async def test_the_paths_without_a_version_are_the_same() -> None:
    """A client whose base URL has no `/v1` finds everything too."""
    async with serve(Service("s", Careful(), ["m1"])) as at:
        _, made = await send(at, path="/responses", input="Hi")
        status, again = await send(at, "GET", f"/responses/{made['id']}")
        counted = await send(at, path="/v1/responses/input_tokens", input="12345678")
    assert (status, again) == (200, made)
    assert counted == (200, {"object": "response.input_tokens", "input_tokens": 2})


async def test_a_refusal_has_the_form_of_openai() -> None:
    """Message, type, param and code; the status is the one that clients know."""
    async with serve(Service("s", Careful(), ["m1"])) as at:
        for members, status, param in (
            ({"input": "x", "background": True}, 400, "background"),
            ({"input": []}, 400, "input"),
            ({"input": "x", "model": "no-such"}, 404, "model"),
        ):
            got, body = await send(at, **members)
            assert (got, body["error"]["param"]) == (status, param)
            assert set(body["error"]) == {"message", "type", "param", "code"}
