"""What answers at a URL is found out without credentials, and only what was proven is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from berlin.errors import ConfigurationError, ConnectError, TLSError
from berlin.language.tables.recognise import ANY, Sign
from berlin.recipes.recognise import Findings, by_address, load_recipe, recipe_names, recognise
from berlin.types import Endpoint
from berlin.wire.pointer import parse_pointer, set_at
from support.site import open_site

SIGNS = [
    pytest.param(name, sign, id=f"{name}-{n}")
    for name in recipe_names()
    for n, sign in enumerate(load_recipe(name).recognise.signs)
]
HTML = "<!doctype html><html><head><title>Our intranet</title></head><body>Hi</body></html>"


def answer_with(sign: Sign) -> web.Response:
    """Return the least answer that a sign asks for."""
    body: str = sign.text
    if sign.json:
        document: Any = {}
        for pointer, value in sign.json.items():
            set_at(document, parse_pointer(pointer), 1 if value == ANY else value)
        body = json.dumps(document)
    return web.Response(status=sign.status[0], text=body, headers=dict(sign.headers))


# What the programs themselves answer without credentials: the shapes are those of their sources at
# the paths in the comments, read on 2026-11-29; values are made up. `*` is any other path.
PROGRAMS: dict[str, dict[str, Any]] = {
    # LiteLLM 1.108.7 with a master key, run on 2026-11-29
    "litellm": {
        "/health/liveliness": '"I\'m alive!"',
        "/v1/models": web.json_response(
            {
                "error": {
                    "message": "Authentication Error, No api key passed in.",
                    "type": "auth_error",
                    "param": "None",
                    "code": "401",
                }
            },
            status=401,
        ),
        "/": "<!DOCTYPE html><html><head><title>LiteLLM API - Swagger UI</title></head></html>",
    },
    # langgenius/dify: api/controllers/service_api/index.py; nginx sends other paths to the web app
    "dify": {
        "/v1/": {"welcome": "Dify OpenAPI", "api_version": "v1", "server_version": "1.9.2"},
        "/v1/models": web.json_response(
            {"code": "unauthorized", "message": "Access token is invalid", "status": 401},
            status=401,
        ),
        "*": "<!DOCTYPE html><html><head><title>Dify</title></head></html>",
    },
    # langgenius/dify: api/controllers/console/setup.py, where the API has another host
    "dify, by its console": {
        "/console/api/setup": {"step": "finished", "setup_at": "2026-01-01T00:00:00"}
    },
    # FlowiseAI/Flowise: packages/ui/index.html; every page is the app
    "flowise": {
        "*": '<!DOCTYPE html>\n<html lang="en">\n<head>\n\t<title>Flowise - Low-code LLM apps '
        'builder</title>\n</head><body><div id="root"></div></body></html>'
    },
    # n8n-io/n8n: packages/frontend/editor-ui/index.html; every page is the editor
    "n8n": {
        "*": '<!DOCTYPE html>\n<html lang="en">\n\t<head>\n\t\t<title>'
        'n8n.io - Workflow Automation</title>\n\t</head><body><div id="app"></div></body></html>'
    },
    # danny-avila/LibreChat: api/server/routes/config.js, buildPreLoginPayload
    "librechat": {
        "/api/config": {
            "appTitle": "LibreChat",
            "discordLoginEnabled": False,
            "openidLabel": "Continue with OpenID",
            "serverDomain": "http://localhost:3080",
            "emailLoginEnabled": True,
            "registrationEnabled": False,
            "socialLogins": ["google"],
        },
        "*": "<!DOCTYPE html><html><head><title>LibreChat</title></head></html>",
    },
    # Mintplex-Labs/anything-llm: server/endpoints/system.js and server/models/systemSettings.js
    "anythingllm": {
        "/api/setup-complete": {
            "results": {
                "RequiresAuth": False,
                "AuthToken": False,
                "JWTSecret": True,
                "StorageDir": "/app/server/storage",
                "MultiUserMode": False,
                "VectorDB": "lancedb",
                "HasExistingEmbeddings": False,
            }
        },
        "*": "<!DOCTYPE html><html><head><title>AnythingLLM</title></head></html>",
    },
}


def answer_as(body: Any) -> web.Response:
    if isinstance(body, web.Response):
        return body
    page = isinstance(body, str)
    return web.Response(text=body, content_type="text/html") if page else web.json_response(body)


@pytest.mark.parametrize("program", PROGRAMS)
async def test_the_answers_of_each_program_prove_it_and_no_other(program: str) -> None:
    """From any of its pages a program is recognised, and taken for nothing else."""
    name = program.partition(",")[0]
    answers = {path: answer_as(body) for path, body in PROGRAMS[program].items()}
    async with open_site(**answers) as site:
        for page in ("", "/some/page"):
            found = await find(site.url + page)
            assert [match.recipe for match in found.services] == [name]
            assert found.services[0].url == site.url + load_recipe(name).recognise.below


async def find(url: str) -> Findings:
    return await recognise(Endpoint.of(url))


@pytest.mark.parametrize(("name", "sign"), SIGNS)
async def test_each_sign_proves_its_recipe_and_no_other_service(name: str, sign: Sign) -> None:
    """An answer with a sign of a recipe is taken for that recipe, at the URL that it needs."""
    described = load_recipe(name).recognise
    async with open_site(**{sign.path: answer_with(sign)}) as site:
        found = await find(site.url)
    assert [match.recipe for match in found.services] == (
        [name] if described.kind == "service" else []
    )
    mine = next(m for m in (*found.services, *found.dialects) if m.recipe == name)
    assert mine.url == site.url + described.below
    assert sign.path in mine.proof


async def test_nothing_but_get_without_credentials_is_sent() -> None:
    """Every request of a recognition is a GET without body, cookie or authorization."""
    async with open_site(**{"/": web.Response(text=HTML)}) as site:
        await find(site.url)
    assert len(site.requests) > 5
    paths = [request.path for request in site.requests]
    assert len(paths) == len(set(paths))
    for request in site.requests:
        assert request.method == "GET"
        assert not request.can_read_body
        assert not {"Authorization", "Cookie", "x-api-key"} & {*request.headers}


async def test_a_page_is_not_taken_for_a_service() -> None:
    """A page of HTML proves nothing; what was seen is told."""
    async with open_site(**{"/": web.Response(text=HTML, content_type="text/html")}) as site:
        found = await find(site.url)
    assert found == Findings(seen="200 with the page 'Our intranet'")


async def test_a_path_of_the_service_leads_to_its_root() -> None:
    """The URL of a page or of the API below the root is as good as the root."""
    models = web.json_response({"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]})
    async with open_site(**{"/v1/models": models}) as site:
        for url in (site.url, f"{site.url}/v1", f"{site.url}/chat/17"):
            [match] = (await find(url)).services
            assert (match.recipe, match.url) == ("vllm", f"{site.url}/v1")


async def test_a_service_that_wants_a_key_is_known_by_its_dialect() -> None:
    """A 401 in a dialect's own words shows the dialect, and no service."""
    refusal = web.json_response({"error": {"message": "no key", "type": "auth"}}, status=401)
    async with open_site(**{"/v1/models": refusal}) as site:
        found = await find(site.url)
    assert (found.services, [m.recipe for m in found.dialects]) == ((), ["openai-compatible"])


async def test_a_redirect_to_another_host_is_named_and_not_followed() -> None:
    """Where an address only leads elsewhere, the other one is named; nothing is sent there."""
    async with open_site() as other:
        away = web.Response(status=302, headers={"Location": f"{other.url}/login"})
        async with open_site(**{"/": away}) as site:
            with pytest.raises(ConfigurationError, match=f"berlin add {other.url}"):
                await find(site.url)
    assert other.requests == []
    assert [request.path for request in site.requests] == ["/"]


async def test_nobody_there() -> None:
    """Where nothing listens, that is the error."""
    with pytest.raises(ConnectError):
        await find("http://127.0.0.1:9")


async def test_https_to_a_port_of_plain_http_says_so() -> None:
    """TLS to a port that speaks plain http is an error that names the URL to write."""
    async with open_site() as site:
        with pytest.raises(TLSError) as caught:
            await find(site.url.replace("http:", "https:"))
    assert caught.value.message.endswith(f"if it speaks plain http, write {site.url}")


@pytest.mark.parametrize(
    ("url", "recipe"),
    [
        ("https://api.openai.com", "openai"),
        ("https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://openrouter.ai", "openrouter"),
        ("https://chat.example.com", None),
        ("http://127.0.0.1:8000", None),
    ],
)
def test_a_known_host_is_known_without_a_request(url: str, recipe: str | None) -> None:
    """The host of a shipped recipe's own address names that recipe."""
    match = by_address(url)
    assert (match.recipe if match else None) == recipe
    assert match is None or match.url == load_recipe(match.recipe).endpoint.url
