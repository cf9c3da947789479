"""Services that no shipped recipe describes, each against a fake written from its documentation.

The recipes are in `tests/support/siblings`. Every fake checks what its service would check.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.providers.http import HttpProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import Recipe, parse_recipe
from berlin.types import Finished, Secret
from berlin.wire.framings import FRAMINGS
from support.playing import playing
from support.recipes import ask, client_of, fake_and_client

RECIPES = Path(__file__).parents[1] / "support" / "siblings"
WHO = Credentials("ann", Secret("secret"), Secret("key"), client_id="id", client_secret=Secret("s"))
TEXT = 'Hello, "мир" 😀'
PIECES = (TEXT[:5], TEXT[5:9], TEXT[9:])
OK: dict[str, Any] = {"ok": True}

Fake: TypeAlias = Callable[[web.Request, "Seen"], Awaitable[web.StreamResponse]]


class Seen:
    """What a fake has been sent so far."""

    def __init__(self) -> None:
        self.prompt = ""
        self.polls = 0
        self.posted = asyncio.Event()
        self.listener: web.StreamResponse | None = None

    def is_ready(self) -> bool:
        """Whether a poll finds an answer: the second time."""
        self.polls += 1
        return bool(self.prompt) and self.polls > 1


def sse(*events: tuple[str, Any]) -> web.Response:
    """Return a stream of events, each with its name, if it has one."""
    lines = [
        f"{f'event: {name}{chr(10)}' if name else ''}data: {json.dumps(data)}\n\n"
        for name, data in events
    ]
    return web.Response(body="".join(lines).encode(), content_type="text/event-stream")


def refused(status: int, body: Any) -> web.Response:
    """Return an error."""
    return web.json_response(body, status=status)


def sign(key: bytes | str, text: str) -> bytes:
    """Return an HMAC-SHA256."""
    return hmac.digest(key if isinstance(key, bytes) else key.encode(), text.encode(), "sha256")


async def spark(request: web.Request, seen: Seen) -> web.StreamResponse:
    """A signed URL, then one message there and several back."""
    query = request.query
    said = f"host: {query['host']}\ndate: {query['date']}\nGET {request.path} HTTP/1.1"
    signature = base64.b64encode(sign("key", said)).decode()
    wanted = 'api_key="ann", algorithm="hmac-sha256", headers="host date request-line", '
    wanted += f'signature="{signature}"'
    if base64.b64decode(query["authorization"]).decode() != wanted:
        return refused(401, {"message": "HMAC signature does not match"})
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    asked = (await socket.receive_json())["payload"]["message"]["text"]
    assert asked == [{"role": "user", "content": "Hi"}]
    for n, text in enumerate(PIECES):
        payload: dict[str, Any] = {"choices": {"status": n, "seq": n, "text": [{"content": text}]}}
        if n == 2:
            payload["usage"] = {"text": {"prompt_tokens": 3, "completion_tokens": 4}}
        await socket.send_json({"header": {"code": 0, "status": n}, "payload": payload})
    return socket


async def hunyuan(request: web.Request, seen: Seen) -> web.StreamResponse:
    """A signature whose key is derived from the date, the service and a word."""
    body, headers = await request.read(), request.headers
    time, date = headers["X-TC-Timestamp"], headers["Authorization"].split("/")[1]
    canonical = (
        "POST\n/\n\ncontent-type:application/json\nhost:hunyuan.tencentcloudapi.com\n\n"
        f"content-type;host\n{hashlib.sha256(body).hexdigest()}"
    )
    scope = f"{date}/hunyuan/tc3_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = sign(sign(sign("TC3key", date), "hunyuan"), "tc3_request")
    signature = sign(key, f"TC3-HMAC-SHA256\n{time}\n{scope}\n{hashed}").hex()
    if not headers["Authorization"].endswith(f"Signature={signature}"):
        error = {"Code": "AuthFailure.SignatureFailure", "Message": "signature"}
        return web.json_response({"Response": {"Error": error}})
    assert json.loads(body)["Messages"] == [{"Role": "user", "Content": "Hi"}]
    chunks = [{"Choices": [{"Delta": {"Content": text}, "FinishReason": ""}]} for text in PIECES]
    chunks.append({"Choices": [{"Delta": {"Content": ""}, "FinishReason": "stop"}]})
    return sse(*(("", chunk) for chunk in chunks))


async def botpress(request: web.Request, seen: Seen) -> web.StreamResponse:
    """The answer comes to whoever listened before the question was sent."""
    path = request.path.removeprefix("/webhook-1")
    if path == "/users":
        return web.json_response({"user": {"id": "u1"}, "key": "user-key"})
    if request.headers.get("x-user-key") != "user-key":
        return refused(401, {"message": "unauthorized"})
    if path == "/conversations":
        return web.json_response({"conversation": {"id": "c1"}})
    if path == "/conversations/c1/listen":
        seen.listener = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await seen.listener.prepare(request)
        await seen.posted.wait()
        for is_bot, text in ((False, seen.prompt), (True, TEXT)):
            data = {"id": "m1", "payload": {"type": "text", "text": text}, "isBot": is_bot}
            event = {"type": "message_created", "data": data}
            await seen.listener.write(f"data: {json.dumps(event)}\n\n".encode())
        return seen.listener
    body = await request.json()
    assert seen.listener is not None, "the question came before anybody listened"
    assert body["conversationId"] == "c1"
    seen.prompt = body["payload"]["text"]
    seen.posted.set()
    return web.json_response({"message": {"id": "m0"}}, status=201)


async def direct_line(request: web.Request, seen: Seen) -> web.StreamResponse:
    """Polling finds the user's own activity, too; the bot's is known by who sent it."""
    if request.headers.get("Authorization") != "Bearer key":
        return refused(403, {"error": {"code": "BadArgument", "message": "Missing token"}})
    if request.path.endswith("/conversations"):
        return web.json_response({"conversationId": "c1", "token": "t"}, status=201)
    if request.method == "POST":
        seen.prompt = (await request.json())["text"]
        return web.json_response({"id": "c1|0000"})
    mine = {"type": "message", "id": "c1|0000", "from": {"id": "berlin"}, "text": seen.prompt}
    theirs = {"type": "message", "id": "c1|0001", "from": {"id": "bot"}, "text": TEXT}
    found = [mine, {"type": "typing", "from": {"id": "bot"}}]
    found += [theirs] if seen.is_ready() else []
    return web.json_response({"activities": found, "watermark": str(len(found))})


async def bedrock_agents(request: web.Request, seen: Seen) -> web.StreamResponse:
    """A signed request; messages of Amazon's event stream whose text is base64."""
    if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential=id/"):
        return refused(403, {"message": "signature"})
    assert request.path.startswith("/agents/m/agentAliases/TSTALIASID/sessions/")
    assert (await request.json())["inputText"] == "Hi"
    writer = FRAMINGS["aws-events"].writer()
    encoded = [base64.b64encode(text.encode()).decode() for text in PIECES]
    body = [writer.write({"event": "chunk", "data": {"bytes": text}}) for text in encoded]
    kind = "application/vnd.amazon.eventstream"
    return web.Response(body=b"".join(body), content_type=kind)


async def poe(request: web.Request, seen: Seen) -> web.StreamResponse:
    """Named events, one of which replaces all text so far."""
    if request.headers.get("Authorization") != "Bearer key":
        return refused(401, {"detail": "invalid key"})
    assert [item["content"] for item in (await request.json())["query"]] == ["Hi"]
    return sse(
        ("meta", {"content_type": "text/markdown"}),
        ("text", {"text": "Thinking"}),
        ("replace_response", {"text": PIECES[0]}),
        *(("text", {"text": text}) for text in PIECES[1:]),
        ("done", {}),
    )


async def zulip(request: web.Request, seen: Seen) -> web.StreamResponse:
    """Errors are in a status of 200 or 400; messages after the own one, of the bot alone."""
    if request.headers.get("Authorization") != "Basic YW5uOnNlY3JldA==":
        error = {"result": "error", "msg": "Invalid API key", "code": "INVALID_API_KEY"}
        return refused(401, error)
    if request.method == "POST":
        form = await request.post()
        assert (form["type"], form["to"]) == ("direct", "[7]")
        seen.prompt = str(form["content"])
        return web.json_response({"result": "success", "id": 41})
    assert request.query["anchor"] == "41"
    operands = [part["operand"] for part in json.loads(request.query["narrow"])]
    assert operands == [[7], 7]
    message = {"id": 42, "content": TEXT, "sender_email": "bot@example.com"}
    found = [message] if seen.is_ready() else []
    return web.json_response({"result": "success", "messages": found})


async def dashscope(request: web.Request, seen: Seen) -> web.StreamResponse:
    """Events with comments between; the reason is the text `null` until the end."""
    if request.headers.get("Authorization") != "Bearer key":
        return refused(401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."})
    assert request.headers["X-DashScope-SSE"] == "enable"
    body = await request.json()
    assert body["input"]["messages"] == [{"role": "user", "content": "Hi"}]
    assert body["parameters"]["temperature"] == 0.5
    lines = []
    for n, text in enumerate(PIECES):
        message = {"role": "assistant", "content": text}
        reason = "stop" if n == 2 else "null"
        output = {"choices": [{"message": message, "finish_reason": reason}]}
        usage = {"input_tokens": 3, "output_tokens": n + 1}
        data = json.dumps({"output": output, "usage": usage, "request_id": "r"})
        lines.append(f"id:{n + 1}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n")
    return web.Response(body="".join(lines).encode(), content_type="text/event-stream")


async def nextcloud(request: web.Request, seen: Seen) -> web.StreamResponse:
    """A task that runs for a while."""
    if request.headers.get("Authorization") != "Basic YW5uOnNlY3JldA==":
        meta = {"status": "failure", "statuscode": 997, "message": "not logged in"}
        return refused(401, {"ocs": {"meta": meta, "data": []}})
    assert request.headers["OCS-APIRequest"] == "true"
    task: dict[str, Any] = {"id": 5, "status": "STATUS_SCHEDULED", "output": None}
    if request.method == "POST":
        seen.prompt = (await request.json())["input"]["input"]
    elif seen.is_ready():
        task |= {"status": "STATUS_SUCCESSFUL", "output": {"output": TEXT}}
    return web.json_response({"ocs": {"meta": {"status": "ok"}, "data": {"task": task}}})


async def matrix(request: web.Request, seen: Seen) -> web.StreamResponse:
    """A login; where the timeline is now; the question; what is new in the room since then."""
    path = request.path.removeprefix("/_matrix/client/v3")
    if path == "/login":
        if (await request.json())["password"] != "secret":
            return refused(403, {"errcode": "M_FORBIDDEN", "error": "Invalid password"})
        return web.json_response({"access_token": "t", "user_id": "@ann:example.com"})
    assert request.headers["Authorization"] == "Bearer t"
    if request.method == "PUT":
        assert path.startswith("/rooms/m/send/m.room.message/")
        seen.prompt = (await request.json())["body"]
        return web.json_response({"event_id": "$1"})
    room = json.loads(request.query["filter"])["room"]
    assert room["timeline"]["not_senders"] == ["@ann:example.com"]
    if "since" not in request.query:
        return web.json_response({"next_batch": "s1"})
    assert request.query["since"] == "s1"
    event = {"event_id": "$2", "sender": "@bot:example.com", "content": {"body": TEXT}}
    rooms = {"join": {"m": {"timeline": {"events": [event]}}}} if seen.is_ready() else {}
    return web.json_response({"next_batch": "s2", "rooms": rooms})


async def slack(request: web.Request, seen: Seen) -> web.StreamResponse:
    """Every answer is a 200; what was wrong is in it."""
    if request.headers.get("Authorization") != "Bearer key":
        return web.json_response({"ok": False, "error": "invalid_auth"})
    if request.method == "POST":
        seen.prompt = (await request.json())["text"]
        return web.json_response({**OK, "ts": "1.1"})
    assert (request.query["channel"], request.query["ts"]) == ("m", "1.1")
    found = [{"user": "U1", "text": seen.prompt, "ts": "1.1"}]
    found += [{"bot_id": "B1", "text": TEXT, "ts": "1.2"}] if seen.is_ready() else []
    return web.json_response({**OK, "messages": found})


FAKES: dict[str, Fake] = {
    "bedrock-agents": bedrock_agents,
    "botpress": botpress,
    "dashscope": dashscope,
    "direct-line": direct_line,
    "hunyuan": hunyuan,
    "matrix": matrix,
    "nextcloud": nextcloud,
    "poe": poe,
    "slack": slack,
    "spark": spark,
    "zulip": zulip,
}


def recipe_named(name: str) -> Recipe:
    """Return a recipe."""
    return parse_recipe((RECIPES / f"{name}.toml").read_text("utf-8"), f"{name}.toml")


@asynccontextmanager
async def service(name: str, credentials: Credentials = WHO) -> AsyncIterator[HttpProvider]:
    """Give a provider of a recipe, over its fake."""
    recipe = recipe_named(name)
    seen, fake = Seen(), FAKES[name]

    async def play(request: web.Request) -> web.StreamResponse:
        return await fake(request, seen)

    async with playing(play) as url, client_of(recipe, url, credentials) as (provider, _):
        yield provider


@pytest.mark.parametrize("name", FAKES)
async def test_answers(name: str) -> None:
    """The recipe logs in, asks and reads the answer as the service wants it."""
    model = "7" if name == "zulip" else "m"
    options = {"temperature": 0.5} if name == "dashscope" else {}
    async with service(name) as provider:
        answer = await ask(provider, "Hi", model=model, **options)
    assert answer.text == TEXT


@pytest.mark.parametrize("name", FAKES)
async def test_our_own_fake_answers(name: str) -> None:
    """Berlin's fake of each recipe plays what the recipe says, in reverse."""
    recipe, answers = recipe_named(name), ScriptedProvider([*PIECES, Finished()])
    async with fake_and_client(recipe, answers) as provider:
        assert (await ask(provider, "Hi", model="7" if name == "zulip" else "m")).text == TEXT


def test_each_recipe_is_played() -> None:
    """No recipe without a fake, and the other way round."""
    assert sorted(file.stem for file in RECIPES.glob("*.toml")) == sorted(FAKES)


WRONG = Credentials("ann", Secret("no"), Secret("no"), client_id="x", client_secret=Secret("x"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bedrock-agents", errors.PermissionDeniedError),
        ("dashscope", errors.AuthenticationError),
        ("direct-line", errors.PermissionDeniedError),
        ("hunyuan", errors.AuthenticationError),
        ("matrix", errors.AuthenticationError),
        ("nextcloud", errors.AuthenticationError),
        ("poe", errors.AuthenticationError),
        ("slack", errors.AuthenticationError),
        ("spark", errors.AuthenticationError),
        ("zulip", errors.AuthenticationError),
    ],
)
async def test_wrong_credentials(name: str, kind: type[errors.BerlinError]) -> None:
    """They are an error of the right kind, wherever the service says so."""
    async with service(name, WRONG) as provider:
        with pytest.raises(kind):
            await ask(provider, "Hi", model="7" if name == "zulip" else "m")
