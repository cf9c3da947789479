"""A client made of a recipe gets the exact text from a fake made of the same recipe."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest

from berlin.auth.flows.oauth2.device import ask_for_code, wait_for_token
from berlin.auth.flows.oauth2.discovery import Endpoints, Server
from berlin.auth.flows.oauth2.endpoint import TokenClient
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.errors import AuthenticationError, ConfigurationError, RequestRejectedError
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import load_recipe, recipe_names
from berlin.types import Finished, Message, Secret
from berlin.workbench.fake import CREDENTIALS, open_fake, whole_urls
from support.recipes import PLAIN_CHAT, ask, client_of, fake_and_client, recipe_of, unattended

PIECES = ["Hel", "lo, ", 'Änn\u2028 "q" \\ {prompt} 🙂', "\n\ndata: [DONE]x\n", "]}, ", "end"]
TEXT = "".join(PIECES)
PROMPT = 'Say "hello"\n& = {model} 100% привет'
LOGIN = {"path": "/login", "json": {"u": "{account}", "p": "{password}"}}


def scripted() -> ScriptedProvider:
    return ScriptedProvider([*PIECES, Finished("length")])


async def check(chat: dict[str, Any] | None = None, **more: Any) -> None:
    recipe, answers = recipe_of(chat or PLAIN_CHAT, **more), scripted()
    async with fake_and_client(recipe, answers) as provider:
        for _ in range(2):
            assert (await ask(provider, PROMPT)).text == TEXT
    assert [m.text for r in answers.requests for m in r.messages] == [PROMPT, PROMPT]


FRAMINGS = {
    "ndjson": {"text": "/c"},
    "sse": {"text": "/choices/0/text"},
    "sse-events": {"text": "/data/t"},
    "sse-text": {},
    "json": {"text": "/a/0/b"},
    "json-array": {"text": "/c"},
    "text": {},
}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "delta": {"kind": "/k", "kinds": {"piece": "text", "fin": "end", "bad": "error"}},
    "replace": {"kind": "/k", "kinds": {"all": "replace", "fin": "end"}},
    "final": {"kind": "/k", "kinds": {"piece": "text", "whole": "final"}},
}


SHAPES = [
    (framing, text_is, kinds)
    for framing in FRAMINGS
    for text_is in ("delta", "cumulative")
    for kinds in KINDS
    # Plain text has neither kinds nor cumulative pieces.
    if framing != "text" or (text_is, kinds) == ("delta", "none")
]


@pytest.mark.parametrize(("framing", "text_is", "kinds"), SHAPES)
async def test_every_framing(framing: str, text_is: str, kinds: str) -> None:
    """Whatever the framing, the pieces and the kinds are, the text is exact."""
    described = dict(KINDS[kinds])
    if described and framing in ("sse-events", "sse-text"):
        described["kind"] = "/event"
    stream = {"framing": framing, "text_is": text_is, **FRAMINGS[framing], **described}
    await check({**PLAIN_CHAT, "stream": stream})


TOKEN = {"token": "/data/token"}
FLOWS: dict[str, dict[str, Any]] = {
    "api-key": {"flow": "api-key"},
    "api-key in the query": {"flow": "api-key", "attach": {"query": "key"}},
    "api-key in a cookie": {"flow": "api-key", "attach": {"cookie": "key", "prefix": "v1."}},
    "basic": {"flow": "basic"},
    "one step": {"flow": "login", "steps": [{**LOGIN, "take": TOKEN}]},
    "a form, and a token in a header": {
        "flow": "login",
        "steps": [
            {
                "path": "/login?kind=web",
                "form": {"u": "{account}", "p": "{password}", "n": 1},
                "take": {"token": {"header": "X-Token"}, "expires_in_ms": "/ms"},
            }
        ],
        "attach": {"header": "X-Token", "prefix": "t="},
    },
    "multipart, and all cookies": {
        "flow": "login",
        "steps": [
            {
                "path": "/login",
                "multipart": {"u": "{account}", "p": "{password}"},
                "take": {"token": {"cookie": "*"}},
            }
        ],
        "attach": {"cookie": "*"},
    },
    "a page with a mark, then a cookie": {
        "flow": "login",
        "steps": [
            {"path": "/", "method": "GET", "take": {"csrf": {"cookie": "csrf"}}},
            {
                "path": "/login",
                "form": {"u": "{account}", "p": "{password}"},
                "headers": {"X-CSRF": "mark {csrf}"},
                "take": {"token": {"cookie": "sid"}},
            },
        ],
        "attach": {"cookie": "sid"},
    },
    "three steps, the id in the path": {
        "flow": "login",
        "steps": [
            {"path": "/begin", "json": {"u": "{account}"}, "take": {"flow_id": "/flow/id"}},
            {
                "path": "/flows/{flow_id}/password",
                "method": "PUT",
                "json": {"p": "{password}"},
                "take": {"ticket": "/ticket"},
            },
            {
                "path": "/token",
                "method": "GET",
                "query": {"ticket": "{ticket}"},
                "take": {**TOKEN, "expires_at": "/data/until"},
            },
        ],
    },
    "one path for all steps": {
        "flow": "login",
        "steps": [
            {"path": "/rpc", "json": {"op": "challenge"}, "take": {"nonce": "/nonce"}},
            {
                "path": "/rpc",
                "json": {"op": "login", "n": "{nonce}", "u": "{account}", "p": "{password}"},
                "take": TOKEN,
            },
        ],
    },
    "at another host": {
        "flow": "login",
        "steps": [{**LOGIN, "path": "https://login.example.com/session/new", "take": TOKEN}],
    },
    "client credentials": {
        "flow": "oauth2",
        "grant": "client_credentials",
        "token_url": "https://login.example.com/oauth/token",
        "scope": "chat",
        "parameters": {"audience": "chat"},
    },
    "client in the body": {
        "flow": "oauth2",
        "grant": "client_credentials",
        "token_url": "/oauth/token",
        "client_auth": "body",
    },
    "password": {"flow": "oauth2", "grant": "password", "token_url": "/oauth/token"},
    "refresh token": {"flow": "oauth2", "grant": "refresh_token", "token_url": "/oauth/token"},
    "command": {"flow": "command", "command": ["echo", "token"]},
}


@pytest.mark.parametrize("flow", FLOWS)
async def test_every_flow(flow: str) -> None:
    """Whatever the login is, the fake lets its own client in, and nobody else."""
    recipe = recipe_of(auth=FLOWS[flow])
    async with open_fake(recipe, scripted()) as url:
        async with client_of(recipe, url) as (provider, _):
            assert (await ask(provider, PROMPT)).text == TEXT
        async with aiohttp.ClientSession() as session:
            answer = await session.post(f"{url}/chat", json={"prompt": "Hello"})
            assert answer.status == 401


@pytest.mark.parametrize("flow", [f for f in FLOWS if f not in ("command", "none")])
async def test_every_flow_refuses_wrong_credentials(flow: str) -> None:
    """What is not right is refused, as a refusal that the client understands."""
    wrong = msgspec.structs.replace(
        CREDENTIALS,
        password=Secret("wrong"),
        api_key=Secret("wrong"),
        client_secret=Secret("wrong"),
        refresh_token=Secret("wrong"),
    )
    async with fake_and_client(recipe_of(auth=FLOWS[flow]), scripted(), wrong) as provider:
        with pytest.raises(AuthenticationError):
            await ask(provider, PROMPT)


async def test_the_device_code_is_approved_at_once() -> None:
    """A person has nothing to do."""
    auth = {
        "flow": "oauth2",
        "grant": "device_code",
        "token_url": "/token",
        "device_url": "/device",
    }
    recipe = recipe_of(auth=auth)

    async def no_wait(seconds: float) -> None:
        assert seconds == 1.0

    async with (
        open_fake(recipe, scripted()) as url,
        client_of(recipe, url) as (provider, authenticator),
    ):
        assert isinstance(recipe.auth, OAuth2Map)
        where = Endpoints(recipe.auth.token_url, recipe.auth.device_url)
        who = {"client_id": CREDENTIALS.client_id}
        client = TokenClient(Server(recipe.auth), where, who, provider.send)
        grant = await wait_for_token(client, await ask_for_code(client), no_wait)
        authenticator.adopt(grant.token.reveal())
        assert (await ask(provider, PROMPT)).text == TEXT


async def test_a_refresh_gives_the_next_token() -> None:
    """The refresh steps take what the login gave, and nothing else."""
    auth = {
        "flow": "login",
        "steps": [{**LOGIN, "take": {**TOKEN, "refresh_token": "/r"}}],
        "refresh": [
            {"path": "/login", "json": {"r": "{refresh_token}"}, "take": {"token": "/token"}}
        ],
    }
    recipe = recipe_of(auth=auth)
    flow = recipe.auth.flow()
    assert flow is not None
    async with (
        open_fake(recipe, scripted()) as url,
        client_of(recipe, url) as (provider, authenticator),
    ):
        first = await flow.obtain(CREDENTIALS, provider.send)
        assert first.refresh_token is not None
        second = await flow.renew(CREDENTIALS, first.refresh_token, provider.send)
        assert second is not None
        assert second.token != first.token
        authenticator.adopt(second.token.reveal())
        assert (await ask(provider, PROMPT)).text == TEXT
        with pytest.raises(AuthenticationError):
            await flow.renew(CREDENTIALS, Secret("wrong"), provider.send)


async def test_a_token_that_is_too_old_is_refused() -> None:
    """The client logs in again, as it does at the true service."""
    recipe = recipe_of(auth=FLOWS["one step"])
    lines: list[str] = []
    async with fake_and_client(recipe, scripted(), lifetime_s=0.0, note=lines.append) as provider:
        with pytest.raises(AuthenticationError, match="expired"):
            await ask(provider, PROMPT)
    assert [line.split()[1].split("/")[-1] for line in lines] == ["login", "chat"] * 2


CARRIERS: dict[str, dict[str, Any]] = {
    "form": {"json": None, "form": {"q": "{prompt}", "id": "{uuid4}", "m": "{model}"}},
    "multipart": {"json": None, "multipart": {"q": "{prompt}", "m": "{model}"}},
    "within a text": {"json": {"q": ["Answer: {prompt}."]}},
    "query": {"json": None, "method": "GET", "query": {"q": "{prompt}"}},
    "path": {"json": None, "method": "GET", "path": "/ask/{prompt}/{model}"},
    "array": {
        "json": {"messages": "{messages}", "s": "{system}"},
        "messages": {
            "form": "array",
            "item": {"who": "{role}", "parts": [{"t": "{text}"}]},
            "roles": {"user": "human"},
            "system": "apart",
        },
    },
    "prepared id": {
        "path": "/chats/{chat_id}",
        "prepare": [
            {"path": "/chats", "json": {"model": "{model}"}, "take": {"chat_id": "/id"}},
        ],
    },
    "prompt before the chat": {
        "path": "/jobs/{job}/events",
        "method": "GET",
        "json": None,
        "prepare": [{"path": "/jobs", "json": {"p": "{prompt}"}, "take": {"job": "/id"}}],
    },
    "prompt before the chat, own id": {
        "path": "/jobs/{uuid4}",
        "method": "GET",
        "json": None,
        "prepare": [{"path": "/jobs/{uuid4}", "method": "PUT", "json": {"p": "{prompt}"}}],
    },
    "prompt before the chat, cookie": {
        "path": "/events",
        "method": "GET",
        "json": None,
        "prepare": [
            {"path": "/ask", "form": {"p": "{prompt}"}, "take": {"c": {"cookie": "turn"}}},
        ],
    },
    "asked until it is there": {
        "path": "/jobs/{job}",
        "method": "GET",
        "json": None,
        "poll_s": 0.05,
        "prepare": [{"path": "/jobs", "json": {"p": "{prompt}"}, "take": {"job": "/id"}}],
        "stream": {
            "framing": "json",
            "text": "/text",
            "finish_reason": "/state",
            "finish_reasons": {"full": "length"},
            "unfinished": ["working"],
        },
    },
}


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_every_way_to_send_a_prompt(carrier: str) -> None:
    """Wherever the prompt stands, the fake finds it."""
    chat = {k: v for k, v in {**PLAIN_CHAT, **CARRIERS[carrier]}.items() if v is not None}
    await check(chat, models={"default": "m 1"})


async def test_several_messages_with_the_system_apart() -> None:
    """Roles and the system come to the provider behind the fake."""
    recipe, answers = recipe_of({**PLAIN_CHAT, **CARRIERS["array"]}), scripted()
    said = [Message.of("system", "Be short."), Message.of("user", "a"), Message.of("user", "b")]
    async with fake_and_client(recipe, answers) as provider:
        await ask(provider, said)  # whatever ChatRequest.of takes
    assert answers.requests[0].messages == tuple(said)


KEPT = {
    "path": "/chat",
    "json": {"q": "{prompt}", "c": "{conversation_id}", "after": "{parent_id}"},
    "messages": {"form": "last"},
    "stream": {
        "framing": "sse",
        "text": "/t",
        "conversation_id": "/c",
        "message_id": "/m",
        "finish_reason": "/why",
        "finish_reasons": {"cut": "length"},
    },
}


async def test_a_conversation_that_the_service_keeps() -> None:
    """The fake knows what was said before, and no conversation that it did not begin."""
    answers = scripted()
    async with fake_and_client(recipe_of(KEPT), answers) as provider:
        first = await ask(provider, "one")
        known = {"conversation_id": first.conversation_id, "parent_id": first.message_id}
        second = await ask(provider, "two", **known)
        assert second.conversation_id == first.conversation_id
        assert (first.finish_reason, second.text) == ("length", TEXT)
        with pytest.raises(RequestRejectedError, match="is not a conversation_id"):
            await ask(provider, "three", conversation_id="made-up")
    assert [m.text for m in answers.requests[-1].messages] == ["one", TEXT, "two"]


@pytest.mark.parametrize("format", ["openai-chat", "anthropic-messages", "ollama-chat"])
async def test_every_known_format(format: str) -> None:
    """What a recipe takes over from a known format, the fake speaks too."""
    await check({"format": format}, auth={"flow": "api-key"}, models={"default": "m"})


async def test_a_whole_answer() -> None:
    """A client that wants no stream gets none."""
    recipe = recipe_of({"format": "openai-chat"})
    async with open_fake(recipe, scripted()) as url, aiohttp.ClientSession() as session:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        answer = await session.post(f"{url}/chat/completions", json=body)
        assert (await answer.json())["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize("name", recipe_names())
async def test_every_shipped_recipe(name: str) -> None:
    """Each recipe that comes with Berlin gets an exact answer from its own fake."""
    shipped = load_recipe(name)
    recipe = msgspec.structs.replace(shipped, name=f"{name}-{id(shipped)}")
    recipe = unattended(recipe)
    answers = scripted()
    async with fake_and_client(recipe, answers) as provider:
        options = {} if recipe.models.default else {"model": "m"}
        assert (await ask(provider, PROMPT, **options)).text == TEXT
        if recipe.models.fetch is not None:
            listed = await provider.list_models(recipe.models.fetch)
            assert listed == (recipe.models.list or (recipe.models.default or "fake",))
    assert answers.requests[0].messages[-1].text == PROMPT


async def test_the_list_of_models() -> None:
    """It stands where the recipe looks for it, and needs the token."""
    fetch = {"path": "/models", "list": "/data/models", "id": "/name"}
    recipe = recipe_of(
        auth={"flow": "api-key"}, models={"list": ["a", "b"], "default": "a", "fetch": fetch}
    )
    async with fake_and_client(recipe, scripted()) as provider:
        assert recipe.models.fetch is not None
        assert await provider.list_models(recipe.models.fetch) == ("a", "b")
    wrong = msgspec.structs.replace(CREDENTIALS, api_key=Secret("wrong"))
    async with fake_and_client(recipe, scripted(), wrong) as provider:
        with pytest.raises(AuthenticationError):
            await provider.list_models(recipe.models.fetch)


async def test_a_wrong_path_is_told_the_right_ones() -> None:
    """Who mistypes a path reads which there are."""
    recipe = recipe_of(auth=FLOWS["one step"])
    async with open_fake(recipe, scripted()) as url, aiohttp.ClientSession() as session:
        answer = await session.get(f"{url}/chat")
        assert answer.status == 404
        said = (await answer.json())["message"]
    assert "POST /" in said
    assert "/login" in said
    assert "/chat" in said


async def test_a_value_that_was_not_handed_out_is_refused() -> None:
    """An id in the path has to be one of the fake's."""
    recipe = recipe_of({**PLAIN_CHAT, **CARRIERS["prepared id"]})
    async with open_fake(recipe, scripted()) as url, aiohttp.ClientSession() as session:
        answer = await session.post(f"{url}/chats/made-up", json={"prompt": "Hello"})
        assert (answer.status, "is not a chat_id" in await answer.text()) == (404, True)


async def test_only_this_machine() -> None:
    """A fake, which anybody can log in to, is never offered to the network."""
    with pytest.raises(ConfigurationError, match="this machine only"):
        async with open_fake(recipe_of(), scripted(), host="0.0.0.0"):
            pass


def test_whole_urls_are_found() -> None:
    """Those that another base URL does not change."""
    assert whole_urls(recipe_of()) == []
    found = whole_urls(recipe_of(auth=FLOWS["client credentials"]))
    assert found == ["https://login.example.com/oauth/token"]
