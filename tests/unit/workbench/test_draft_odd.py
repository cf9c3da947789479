"""Odd files and commands: the text is found, a draft is left, and no secret is in it."""

from __future__ import annotations

import base64
import gzip
import html
import json
import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from berlin.workbench.draft.choose import find_chat
from berlin.workbench.draft.sources.captured import Exchange
from berlin.workbench.draft.sources.curl import parse_curl
from berlin.workbench.draft.sources.har import read_har
from berlin.workbench.draft.writer import Draft, write_draft

URL = "https://chat.example.com"
PROMPT = 'Größe of "Paris", please?'
WORDS = ("Par", "is is", " a capital.")
FULL = "".join(WORDS)
SECRET = "CANARY+7/a=b0c1"
PASSWORD = "CANARY-hunter2"
UUID = "7f2b8a54-0c1d-4e7a-9b61-5d2f7c9e8a14"
FORM = "application/x-www-form-urlencoded"


def events(*documents: Any) -> str:
    return "".join(f"data: {json.dumps(document)}\n\n" for document in documents)


SSE = events(*({"text": word} for word in WORDS))


def entry(
    path: str,
    body: Any = None,
    answer: Any = SSE,
    *,
    method: str = "POST",
    kind: str = "application/json",
    sent: Mapping[str, str] = {},
    came: Mapping[str, str] = {},
    **more: Any,
) -> dict[str, Any]:
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    said = answer if isinstance(answer, str) else json.dumps(answer)
    return {
        "request": {
            "method": method,
            "url": path if "://" in path else URL + path,
            "headers": [{"name": n, "value": v} for n, v in sent.items()],
            "postData": {"mimeType": kind, "text": text} if text is not None else None,
            **more.pop("request", {}),
        },
        "response": {
            "status": more.pop("status", 200),
            "headers": [{"name": n, "value": v} for n, v in came.items()],
            "content": {"text": said, **more.pop("content", {})},
        },
        **more,
    }


def frames(*sent_or_came: Any) -> list[dict[str, Any]]:
    """Messages on a WebSocket: the first was sent by the client."""
    return [
        {"type": "receive" if n else "send", "opcode": 1, "data": json.dumps(document)}
        for n, document in enumerate(sent_or_came)
    ]


LOGIN = {"email": "ann@example.com", "password": PASSWORD}
COOKIE = {"Cookie": f"sid={quote(SECRET, safe='')}"}
PAIRS = [{"name": "q", "value": quote(PROMPT)}, {"name": "mode", "value": "fast"}]
PAGE = "<!doctype html><html><body>{}</body></html>"


def chat(answer: Any = SSE, **more: Any) -> dict[str, Any]:
    return entry("/chat", {"q": PROMPT}, answer, **more)


ASKED = chat()
FOLLOWED = {"X-CSRF-Token": "CANARY-mark-1"}
SOCKET = (
    {"type": "ask", "q": PROMPT},
    *({"type": "delta", "text": word} for word in WORDS),
    {"type": "done"},
)


def login_with(page: str) -> list[dict[str, Any]]:
    return [
        entry("/in", None, PAGE.format(page), method="GET"),
        entry("/in", LOGIN, {"ok": True}, sent=FOLLOWED, came={"Set-Cookie": "sid=CANARY-new-1"}),
        chat(sent={"Cookie": "sid=CANARY-new-1"}),
    ]


# Each file, and what its draft contains.
FILES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "another Unicode form": (
        [entry("/chat", {"q": unicodedata.normalize("NFD", PROMPT)})],
        'q = "{prompt}"',
    ),
    "JSON in a field": (
        [entry("/ask", urlencode({"r": json.dumps({"q": PROMPT, "n": None})}), kind=FORM)],
        'form = { r = "{\\"q\\": {json:{prompt}}, \\"n\\": null}" }',
    ),
    "JSON in JSON in a field": (
        [entry("/ask", urlencode({"r": json.dumps([None, json.dumps([PROMPT])])}), kind=FORM)],
        'form = { r = "[null, {json:[{json:{prompt}}]}]" }',
    ),
    "a list as the body": (
        [entry("/graphql", [{"variables": {"q": PROMPT}}], [{"data": {"ask": {"text": FULL}}}])],
        'body = "[{\\"variables\\": {\\"q\\": {json:{prompt}}}}]"',
    ),
    "GraphQL with the prompt in its text": (
        [entry("/graphql", {"query": f"{{ ask(q: {json.dumps(PROMPT, ensure_ascii=False)}) }}"})],
        'query = "{ ask(q: {json:{prompt}}) }"',
    ),
    "XML": ([entry("/ask", f"<q>{PROMPT}</q>", kind="text/xml")], 'body = "<q>{xml:{prompt}}</q>"'),
    "XML with escaped quotes": (
        [entry("/ask", f"<q>{html.escape(PROMPT)}</q>", kind="text/xml")],
        'body = "<q>{xml:{prompt}}</q>"',
    ),
    "text": ([entry("/ask", PROMPT, kind="text/plain")], 'body = "{prompt}"'),
    "the prompt in the path": (
        [entry(f"/ask/{quote(PROMPT, safe='')}", method="GET")],
        'path = "/ask/{prompt}"',
    ),
    "encoded parameters": (
        [entry("/ask", request={"postData": {"mimeType": FORM, "params": PAIRS}})],
        'form = { q = "{prompt}", mode = "fast" }',
    ),
    "nulls, and an entry without a response": (
        [
            entry("/x", request={"headers": None}, status=None),
            {"request": {"method": "GET", "url": URL}},
            ASKED,
        ],
        'path = "/chat"',
    ),
    "a packed answer": (
        [
            chat(
                base64.b64encode(gzip.compress(SSE.encode())).decode(),
                content={"encoding": "base64"},
            )
        ],
        'framing = "sse"',
    ),
    "cookies of their own": (
        [chat(request={"cookies": [{"name": "sid", "value": SECRET}]})],
        'attach = { cookie = "*" }',
    ),
    "the prompt repeated in the text's place": (
        [
            chat(
                events(
                    {"type": "user", "text": PROMPT},
                    *({"type": "token", "text": word} for word in WORDS),
                )
            )
        ],
        'kinds = { token = "text"',
    ),
    "a list of messages": (
        [chat({"messages": [{"by": "me", "text": PROMPT}, {"by": "it", "text": FULL}]})],
        'text = "/messages/-1/text"',
    ),
    "pieces that are changes, and then the whole": (
        [
            chat(
                events(
                    {"msg": "starts"},
                    {"msg": "part", "data": ["Par"]},
                    *({"msg": "part", "data": [[["append", [], word]]]} for word in WORDS[1:]),
                    {"msg": "completed", "data": [FULL]},
                    {"msg": "close"},
                )
            )
        ],
        'kinds = { completed = "final"',
    ),
    "numbered texts": (
        [chat(events(*({"at": f"trace {n} of node one", "v": w} for n, w in enumerate(WORDS))))],
        'text = "/v"',
    ),
    "longer reasoning": (
        [
            chat(
                events(
                    {"type": "thinking", "text": "a long thought about it"},
                    *({"type": "text", "text": word} for word in WORDS),
                )
            )
        ],
        'thinking = "reasoning"',
    ),
    "lines with tags": (
        [chat("".join(f"0:{json.dumps(w)}\n" for w in WORDS) + 'd:{"finishReason":"stop"}\n')],
        'd = "end"',
    ),
    "a WebSocket": (
        [entry("/ws", method="GET", status=101, _webSocketMessages=frames(*SOCKET))],
        'socket = { protocol = "json" }',
    ),
    "a mark in a script": (
        login_with("<script>window.App = {csrf: 'CANARY-mark-1'}</script>"),
        'csrf = { script = "csrf" }',
    ),
    "two cookies": (
        [
            entry("/in", None, PAGE, method="GET", came={"Set-Cookie": "mark=CANARY-mark-1"}),
            entry("/in", LOGIN, {}, sent=FOLLOWED, came={"Set-Cookie": "sid=CANARY-new-1"}),
            chat(sent={"Cookie": "mark=CANARY-mark-1; sid=CANARY-new-1"}),
        ],
        'attach = { cookie = "*" }',
    ),
    "a form of Rails": (
        [
            entry(
                "/in",
                f"user%5Bemail%5D=ann&user%5Bpassword%5D={PASSWORD}",
                {},
                kind=FORM,
                came={"Set-Cookie": "sid=CANARY-new-1"},
            ),
            chat(sent={"Cookie": "sid=CANARY-new-1"}),
        ],
        '"user[password]" = "{password}"',
    ),
    "a form of Spring": (
        [
            entry(
                "/in",
                f"j_username=ann&j_password={PASSWORD}",
                {},
                kind=FORM,
                came={"Set-Cookie": "sid=CANARY-new-1"},
            ),
            chat(sent={"Cookie": "sid=CANARY-new-1"}),
        ],
        'form = { j_username = "{account}", j_password = "{password}" }',
    ),
    "the account first, then the password": (
        [
            entry("/who", {"email": "ann@x.org"}, {"flow_id": "CANARY-flow-1"}),
            entry("/in", {"flow_id": "CANARY-flow-1", "password": PASSWORD}, {"t": SECRET}),
            chat(sent={"Authorization": f"Bearer {SECRET}"}),
        ],
        'json = { email = "{account}" }',
    ),
    "a later turn, and a title with a longer answer": (
        [
            entry("/chat", {"q": "Hi", "chatId": None}, {"chatId": "c-77aa66", "text": "Hello"}),
            entry(
                "/chat",
                {"q": PROMPT, "chatId": "c-77aa66"},
                events(*({"chatId": "c-77aa66", "text": word} for word in WORDS)),
            ),
            entry("/title", {"q": PROMPT}, {"title": "A very long title " * 20}),
        ],
        'chatId = "{conversation_id}"',
    ),
    "an id that a step sends and its answer repeats": (
        [
            entry("/talks", {"uuid": UUID}, {"uuid": UUID}),
            entry(f"/talks/{UUID}/ask", {"q": PROMPT}, sent={"Cookie": "last=talks; q=" + PROMPT}),
        ],
        'path = "/talks/{made_uuid}/ask"',
    ),
    "a secret in all places": (
        [
            entry(
                f"/{quote(SECRET, safe='')}/chat?a={quote(SECRET)}&b={SECRET}",
                {"q": PROMPT, "x": SECRET, "y": [f"a{SECRET}b"], SECRET: 1, "z": {SECRET: SECRET}},
                events(*({"type": SECRET, "text": word} for word in WORDS), {"type": "done"}),
                sent={"Authorization": f"Bearer {SECRET}", **COOKIE, "X-Other": SECRET},
            )
        ],
        'q = "{prompt}"',
    ),
    "a short cookie, a digest, and a later cookie": (
        [
            entry(
                "/chat",
                {"q": PROMPT, "a": "CANr4", "b": "CANARY-resp", "c": "CANARY-late", "u": URL},
                sent={"Cookie": "pin=CANr4", "Authorization": 'Digest response="CANARY-resp"'},
            ),
            entry(
                "/me", method="GET", sent={"Cookie": f"who=CANARY-late; lang=en-US; home={URL}/"}
            ),
        ],
        'q = "{prompt}"',
    ),
}


def drafted(exchanges: list[Exchange], prompt: str | None = PROMPT) -> Draft:
    return write_draft(exchanges, find_chat(exchanges, prompt), prompt, "odd")


@pytest.mark.parametrize("name", FILES)
def test_the_chat_is_understood(name: str) -> None:
    """Nothing is missing, the text is read, and neither the prompt nor a canary is in the file."""
    entries, expected = FILES[name]
    draft = drafted(read_har(json.dumps({"log": {"entries": entries}}).encode()))
    assert (draft.missing, draft.answer) == ([], FULL), draft.text
    assert expected in draft.text
    assert not [secret for secret in ("CANARY", "CANr4", "ann@") if secret in draft.text]


def test_a_file_that_was_cut_off() -> None:
    """What came before the cut is read."""
    whole = json.dumps({"log": {"entries": [ASKED, entry("/x.js", answer="x" * 99)]}})
    assert drafted(read_har(whole[:-60].encode())).answer == FULL


def test_one_chat_among_many_requests() -> None:
    """Requests that carry the prompt too, each with cookies of its own, hide nothing."""
    others = [
        entry(f"/t/{n}", {"q": PROMPT}, {"ok": "yes it is"}, sent={"Cookie": f"a{n}=CANARY-{n}"})
        for n in range(60)
    ]
    asked = entry("/chat", {"q": PROMPT, "x": "CANARY-7"})
    entries = [*others[:30], asked, *others[30:]]
    draft = drafted(read_har(json.dumps({"log": {"entries": entries}}).encode()))
    assert (draft.missing, draft.answer) == ([], FULL)
    assert "CANARY" not in draft.text


@pytest.mark.parametrize(
    ("entries", "prompt", "missing"),
    [
        ([ASKED], "another", "the prompt is nowhere in the request"),
        ([entry("/", None, PAGE, method="GET")], PROMPT, "the prompt is nowhere"),
        ([entry("/chat", f"\0\0{PROMPT}", kind="application/grpc")], PROMPT, "neither JSON nor"),
        ([chat("")], PROMPT, "the answer is empty"),
    ],
)
def test_a_draft_is_always_left(entries: list[Any], prompt: str, missing: str) -> None:
    """With what is missing, and what to do."""
    draft = drafted(read_har(json.dumps({"log": {"entries": entries}}).encode()), prompt)
    assert missing in "; ".join(draft.missing)
    assert f"# Missing: {draft.missing[0][:20]}" in draft.text


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f'curl ^"{URL}/ask?a=1^&b=2^" ^\r\n -d ^"{{^\\^"q^\\^":1}}^"', b'{"q":1}'),
        (f"$ curl {URL} --oauth2-bearer tok -d x=1", b"x=1"),
        (f"curl {URL} -F 'q=1;type=text/plain' -F f=@me.png", b'name="q"\r\n\r\n1\r\n'),
    ],
)
def test_commands(command: str, expected: bytes) -> None:
    """For the shell of Windows; with a shell's prompt; with a file, which is named."""
    request = parse_curl(command)
    assert expected in request.body
    assert (request.query or {"b": "2"})["b"] == "2"
    assert (request.header("authorization") or "Bearer tok") == "Bearer tok"
    assert request.files == (("f",) if "-F" in command else ())
