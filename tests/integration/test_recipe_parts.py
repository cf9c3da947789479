"""Images, files and tools in described services, over real sockets."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from aiohttp import web

from berlin.auth.credentials import Credentials
from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.language.backwards import decode_multipart
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import Recipe
from berlin.types import (
    ChatRequest,
    ChatResponse,
    FilePart,
    ImagePart,
    Message,
    Secret,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from support.formats import answered
from support.recipes import fake_and_client, opened, recipe_of
from support.site import open_site

PNG, PDF = b"\x89PNG\r\n\x1a\n\x00--a", b"%PDF-1.7 text"
PNG_BASE64, PDF_BASE64 = (base64.b64encode(data).decode() for data in (PNG, PDF))
PNG_URL, PDF_URL = (
    f"data:image/png;base64,{PNG_BASE64}",
    f"data:application/pdf;base64,{PDF_BASE64}",
)
LINK = "https://images.example.com/1.png"
QUESTION, PICTURE = TextPart("What is this?"), ImagePart(PNG_URL)
ASKED = Message("user", (QUESTION, PICTURE, FilePart(PDF_URL, "a.pdf")))
SHOWN = Message("user", (QUESTION, PICTURE))
STREAM = {"framing": "ndjson", "text": "/t", "tool_calls": "/calls", "finish_reason": "/end"}
ITEM_OF_PARTS = {"role": "{role}", "content": "{parts}"}


def described(json_body: Any, messages: Any = None, **more: Any) -> Recipe:
    chat = {"path": "/chat", "json": json_body, "stream": STREAM, **more}
    return recipe_of({**chat, "messages": messages} if messages else chat)


ITEMS: dict[str, tuple[Recipe, Message, dict[str, Any]]] = {
    "images beside the prompt, as data URLs": (
        described({"q": "{prompt}", "images": "{images}"}),
        SHOWN,
        {"q": "What is this?", "images": [PNG_URL]},
    ),
    "images and files beside the prompt, each in its form": (
        described(
            {"q": "{prompt}", "images": "{images}", "docs": "{files}"},
            {
                "parts": {
                    "image": "{base64}",
                    "file": {"name": "{name}", "mime": "{media_type}", "bytes": "{base64}"},
                }
            },
        ),
        ASKED,
        {
            "q": "What is this?",
            "images": [PNG_BASE64],
            "docs": [{"name": "a.pdf", "mime": "application/pdf", "bytes": PDF_BASE64}],
        },
    ),
    "without any, the member is left out": (
        described({"q": "{prompt}", "images": "{images}"}),
        Message.of("user", "Hello"),
        {"q": "Hello"},
    ),
    "images beside the text of a message": (
        described(
            {"messages": "{messages}"},
            {
                "form": "array",
                "item": {"role": "{role}", "content": "{text}", "images": "{images}"},
                "parts": {"image": "{base64}"},
            },
        ),
        SHOWN,
        {"messages": [{"role": "user", "content": "What is this?", "images": [PNG_BASE64]}]},
    ),
    "parts by kind": (
        described(
            {"messages": "{messages}"},
            {
                "form": "array",
                "item": ITEM_OF_PARTS,
                "parts": {
                    "text": {"t": "{text}"},
                    "image": {"inline": {"mime": "{media_type}", "data": "{base64}"}},
                },
            },
        ),
        SHOWN,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"t": "What is this?"},
                        {"inline": {"mime": "image/png", "data": PNG_BASE64}},
                    ],
                }
            ]
        },
    ),
    "a link, where the service takes links": (
        described({"q": "{prompt}", "images": "{images}"}, {"parts": {"image": {"u": "{url}"}}}),
        Message("user", (QUESTION, ImagePart(LINK))),
        {"q": "What is this?", "images": [{"u": LINK}]},
    ),
}


async def sent(
    recipe: Recipe, request: ChatRequest, answers: Mapping[str, web.Response] = {}
) -> tuple[list[tuple[str, bytes, str]], ChatResponse]:
    """Return what the service receives: paths, bodies and content types; and the answer."""
    seen: list[tuple[str, bytes, str]] = []

    async def note(received: web.BaseRequest) -> web.Response:
        body = await received.read()
        seen.append((received.path, body, received.headers.get("Content-Type", "")))
        made = answers.get(received.path)
        if made is not None:
            return web.Response(body=made.body, status=made.status, content_type="application/json")
        return web.Response(text='{"t": "A cat.", "end": "stop"}\n')

    paths = ("/chat", *answers)
    async with open_site(**dict.fromkeys(paths, note)) as site:
        here = msgspec.structs.replace(recipe, endpoint=type(recipe.endpoint)(site.url))
        async with opened(here, None) as (provider, _):
            return seen, await answered(provider, request)


@pytest.mark.parametrize("name", ITEMS)
async def test_images_and_files_inline(name: str) -> None:
    """Each is written as the recipe says, where it says."""
    recipe, message, expected = ITEMS[name]
    ((_, body, _),), answer = await sent(recipe, ChatRequest((message,)))
    assert json.loads(body) == expected
    assert answer.text == "A cat."
    assert recipe.takes_images


UPLOAD = {
    "path": "/files",
    "multipart": {"purpose": "chat", "file": "{file}"},
    "take": {"file_id": "/data/id"},
}


async def test_uploads_come_first_and_are_referred_to() -> None:
    """Each image and each file is sent once, in a form, and the chat names what it became."""
    recipe = described(
        {"q": "{prompt}", "images": "{images}", "files": "{files}"},
        {"parts": {"image": "{file_id}", "file": {"id": "{file_id}", "name": "{name}"}}},
        upload=[UPLOAD, {"path": "/ready", "json": {"id": "{file_id}"}, "kinds": ["file"]}],
    )
    answers = {
        "/files": web.Response(body=b'{"data": {"id": "f-1"}}'),
        "/ready": web.Response(body=b"{}"),
    }
    again = Message("user", (TextPart("Again"), PICTURE))
    seen, _ = await sent(
        recipe, ChatRequest((ASKED, Message.of("assistant", "Oh"), again)), answers
    )
    assert [path for path, _, _ in seen] == ["/files", "/files", "/ready", "/chat"]
    assert decode_multipart(*seen[1][1:])["purpose"] == "chat"
    for (_, body, _), data, head in (
        (seen[0], PNG, b'name="file"; filename="image.png"\r\nContent-Type: image/png\r\n'),
        (seen[1], PDF, b'name="file"; filename="a.pdf"\r\nContent-Type: application/pdf\r\n'),
    ):
        assert head + b"\r\n" + data + b"\r\n" in body
    assert json.loads(seen[2][1]) == {"id": "f-1"}
    said = json.loads(seen[3][1])
    assert said["images"] == ["f-1", "f-1"]
    assert said["files"] == [{"id": "f-1", "name": "a.pdf"}]


PRESIGNED = [
    {
        "path": "/uploads",
        "json": {"name": "{name}", "bytes": "{size}"},
        "take": {"put_url": "/url", "file_id": "/id"},
    },
    {
        "path": "{put_url}",
        "method": "PUT",
        "body": "{file}",
        "headers": {"Content-Type": "{media_type}"},
        "credentials": False,
    },
]


def presigned() -> Recipe:
    chat = {"path": "/chat", "json": {"q": "{prompt}", "i": "{images}"}, "stream": STREAM}
    chat |= {"upload": PRESIGNED, "messages": {"parts": {"image": "{file_id}"}}}
    return recipe_of(chat, auth={"flow": "api-key", "attach": {"header": "X-Key"}})


async def test_the_bytes_of_a_file_go_to_the_url_that_the_service_gave() -> None:
    """By PUT, as they are, without the credentials; 204 is success, and the chat has the id."""
    seen: list[tuple[str, str, str, bytes]] = []
    answers = {"/uploads": (200, b'{"url": "/put?sig=a%2Fb", "id": "f-1"}'), "/put": (204, b"")}

    async def note(received: web.BaseRequest) -> web.Response:
        key, kind = (received.headers.get(name, "") for name in ("X-Key", "Content-Type"))
        seen.append((received.path_qs, key, kind, await received.read()))
        status, body = answers.get(received.path, (200, b'{"t": "A cat.", "end": "stop"}\n'))
        return web.Response(status=status, body=body)

    async with open_site(**dict.fromkeys(("/uploads", "/put", "/chat"), note)) as site:
        recipe = presigned()
        here = msgspec.structs.replace(recipe, endpoint=type(recipe.endpoint)(site.url))
        async with opened(here, Credentials(api_key=Secret("key-1"))) as (provider, _):
            bursts = [burst async for burst in provider.bursts(ChatRequest((SHOWN,)))]
    assert bursts
    as_json = "application/json"
    assert seen[0] == ("/uploads", "key-1", as_json, b'{"name":"image.png","bytes":12}')
    assert seen[1] == ("/put?sig=a%2Fb", "", "image/png", PNG)
    assert seen[2] == ("/chat", "key-1", as_json, b'{"q":"What is this?","i":["f-1"]}')


async def test_a_file_never_goes_to_a_host_that_the_recipe_does_not_list() -> None:
    """The error names the host, and the key under which a recipe lists it."""
    answers = {"/uploads": web.Response(body=b'{"url": "https://evil.example/put", "id": "f"}')}
    recipe = described(
        {"q": "{prompt}", "i": "{images}"},
        {"parts": {"image": "{file_id}"}},
        upload=PRESIGNED,
    )
    with pytest.raises(BerlinError, match=r"another host, 'evil.example'.*`hosts`"):
        await sent(recipe, ChatRequest((SHOWN,)), answers)


async def test_a_chat_may_be_plain_text() -> None:
    """`body` is the request's body as text, with placeholders."""
    recipe = recipe_of({"path": "/chat", "body": "ask: {prompt}", "stream": STREAM})
    ((_, body, kind),), answer = await sent(recipe, ChatRequest.of("Hi"))
    assert (body, kind, answer.text) == (b"ask: Hi", "text/plain; charset=utf-8", "A cat.")


@pytest.mark.parametrize(
    ("recipe", "parts", "message"),
    [
        (described({"q": "{prompt}"}), (PICTURE,), "only text"),
        (
            described({"q": "{prompt}", "images": "{images}"}),
            (ImagePart(LINK),),
            "images only with their contents",
        ),
        (
            described({"q": "{prompt}", "images": "{images}"}),
            (PICTURE, FilePart(PDF_URL)),
            "a part of kind file",
        ),
        (
            described({"q": "{prompt}", "images": "{images}"}, upload=[UPLOAD]),
            (PICTURE, FilePart(PDF_URL)),
            "a part of kind file",
        ),
        (
            described({"q": "{prompt}", "images": "{images}"}, upload=[UPLOAD]),
            tuple(ImagePart(f"{PNG_URL}{'A' * 4 * n}") for n in range(51)),
            "50 at most",
        ),
        (
            described({"q": "{prompt}", "files": "{files}"}),
            (FilePart(file_id="file-of-another"),),
            "another service keeps",
        ),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_anything_is(
    recipe: Recipe, parts: tuple[Any, ...], message: str
) -> None:
    """With a message that says what this service takes; no request is made."""
    with pytest.raises(InvalidRequestError, match=message):
        await sent(recipe, ChatRequest((Message("user", (QUESTION, *parts)),)))


async def test_a_media_type_cannot_add_headers() -> None:
    """What a caller writes as media type and name stays within the header of its part."""
    recipe = described({"q": "{prompt}", "files": "{files}"}, upload=[UPLOAD])
    evil = f"data:text/x\r\nX-Evil: 1;base64,{PDF_BASE64}"
    part = FilePart(evil, 'a"\r\nX-Evil: 2.pdf')
    answers = {"/files": web.Response(body=b'{"data": {"id": "f-1"}}')}
    seen, _ = await sent(recipe, ChatRequest((Message("user", (QUESTION, part)),)), answers)
    assert b"\r\nX-Evil" not in seen[0][1]
    assert b"Content-Type: application/octet-stream\r\n" in seen[0][1]


async def test_an_upload_without_an_id_is_an_error_of_the_service() -> None:
    """It names the request and the place."""
    recipe = described({"q": "{prompt}", "images": "{images}"}, upload=[UPLOAD])
    answers = {"/files": web.Response(body=b'{"data": {}}')}
    with pytest.raises(BerlinError, match="/files gave no file_id at /data/id"):
        await sent(recipe, ChatRequest((SHOWN,)), answers)


TOOLS = (Tool("weather", "The weather", '{"type":"object","properties":{"at":{"type":"string"}}}'),)
TURNS = (
    Message.of("user", "Weather in Berlin?"),
    Message("assistant", (ToolCallPart("c1", "weather", '{"at":"Berlin"}'),)),
    Message("tool", (ToolResultPart("c1", "sunny"), ToolResultPart("c2", "no", is_error=True))),
)
ITEM = {"role": "{role}", "content": "{text}", "tool_calls": "{calls}"}
AS_OPENAI = described(
    {"messages": "{messages}", "tools": "{tools}", "tool_choice": "{tool_choice}"},
    {"form": "array", "item": ITEM},
)
IN_PARTS = described(
    {"turns": "{messages}", "can": "{tools}"},
    {
        "form": "array",
        "item": {"who": "{role}", "parts": "{parts}"},
        "roles": {"tool": "user", "assistant": "bot"},
        "parts": {
            "text": {"say": "{text}"},
            "call": {"do": "{name}", "with": "{input}", "ref": "{id}"},
            "result": {"did": "{name}", "ref": "{id}", "got": "{text}"},
            "tool": {"do": "{name}", "why": "{description}", "form": "{parameters}"},
        },
    },
)


async def test_tools_in_the_form_of_openai() -> None:
    """Without more words than `{tools}` and `{calls}`: the usual form, both ways."""
    request = ChatRequest(TURNS, tools=TOOLS, tool_choice="required")
    ((_, body, _),), _ = await sent(AS_OPENAI, request)
    said = json.loads(body)
    assert said["tool_choice"] == "required"
    assert said["tools"][0]["function"]["name"] == "weather"
    assert said["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"at":"Berlin"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": "Error: no"},
    ]
    assert (AS_OPENAI.tools_mode, AS_OPENAI.abilities) == ("native", ("tools",))


async def test_tools_in_a_form_of_the_service_s_own() -> None:
    """Calls and results are parts of a message, with the arguments as an object."""
    ((_, body, _),), _ = await sent(IN_PARTS, ChatRequest(TURNS, tools=TOOLS))
    said = json.loads(body)
    assert said["can"][0]["form"]["properties"] == {"at": {"type": "string"}}
    assert said["turns"][1:] == [
        {"who": "bot", "parts": [{"do": "weather", "with": {"at": "Berlin"}, "ref": "c1"}]},
        {
            "who": "user",
            "parts": [
                {"did": "weather", "ref": "c1", "got": "sunny"},
                {"ref": "c2", "got": "Error: no"},
            ],
        },
    ]


async def test_a_call_of_the_service_arrives() -> None:
    """By the pointers of `[chat.stream.tool_call]`."""
    call = {"id": "c1", "function": {"name": "weather", "arguments": '{"at":"Bonn"}'}}
    line = json.dumps({"calls": [call], "end": "stop"})
    answers = {"/chat": web.Response(body=f"{line}\n".encode())}
    _, answer = await sent(AS_OPENAI, ChatRequest(TURNS[:1], tools=TOOLS), answers)
    assert [(c.name, c.arguments) for c in answer.tool_calls] == [("weather", '{"at":"Bonn"}')]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (
            {"json": {"q": "{prompt}"}, "messages": {"parts": {"image": "{url}"}}},
            "image: no request has",
        ),
        ({"json": {"q": "{prompt}", "t": "{tools}"}}, 'needs form = "array"'),
        (
            {"json": {"m": "{messages}", "t": "{tools}"}, "messages": {"form": "array"}},
            "needs {calls}",
        ),
        (
            {
                "json": {"m": "{messages}", "t": "{tools}"},
                "messages": {"form": "array", "item": ITEM_OF_PARTS},
            },
            "say what `call` and `result`",
        ),
        (
            {"json": {"q": "{prompt}"}, "upload": [{"path": "/f", "json": {"f": "{file}"}}]},
            "a field of `multipart`",
        ),
        (
            {"json": {"q": "{prompt}"}, "upload": [{"path": "/f", "body": "x{file}"}]},
            "the whole `body`",
        ),
        (
            {"json": {"q": "{prompt}"}, "body": "{prompt}"},
            "both json and body",
        ),
        (
            {"json": {"q": "{prompt}"}, "prepare": [{"path": "/a", "follow": True}]},
            "belong to the steps of a login",
        ),
        (
            {
                "json": {"q": "{prompt}", "i": "{images}"},
                "messages": {"parts": {"image": "{fileid}"}},
                "upload": [UPLOAD],
            },
            "did you mean {file_id}",
        ),
        (
            {"json": {"q": "{prompt}"}, "upload": [{**UPLOAD, "take": {"name": "/n"}}]},
            "which is taken",
        ),
        (
            {
                "json": {"q": "{prompt}"},
                "upload": [{**UPLOAD, "kinds": ["image"]}, {"path": "/f/{file_id}"}],
            },
            "unknown placeholder {file_id}",
        ),
    ],
)
def test_mistakes_are_errors_when_the_recipe_is_read(chat: dict[str, Any], message: str) -> None:
    """What could never be sent is not left to the first image."""
    with pytest.raises(ConfigurationError, match=message):
        recipe_of({"path": "/chat", "stream": STREAM, **chat}).format()


@pytest.mark.parametrize("steps", [[UPLOAD], PRESIGNED])
async def test_the_fake_takes_uploads(steps: list[dict[str, Any]]) -> None:
    """`berlin recipe serve` plays the uploads too, and wants back what it handed out."""
    recipe = described(
        {"q": "{prompt}", "images": "{images}"},
        {"parts": {"image": {"id": "{file_id}"}}},
        upload=steps,
    )
    answers = ScriptedProvider(["A cat."])
    async with fake_and_client(recipe, answers) as provider:
        answer = await answered(provider, ChatRequest((SHOWN,)))
    assert answer.text == "A cat."
    assert answers.requests[0].messages[0].text == "What is this?"
