"""A recipe that was made of one chat asks the same service, and gets its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berlin.auth.credentials import Credentials
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import Recipe, parse_recipe
from berlin.types import Finished, Secret
from berlin.workbench.fake import open_fake
from support.browser import Browser
from support.cli import Cli
from support.recipes import ask, client_of, opened, recipe_of

PIECES = ["The", " capital", " of France", " is", " Paris", ".\n", 'It\'s "big"!']
TEXT = "".join(PIECES)
PROMPT = "What's the capital of France?"
CREDENTIALS = Credentials(
    account="ann@example.com",
    password=Secret("Tr0ub4dor-and-3"),
    api_key=Secret("k3y-0f-Ann-7c1d9e5b2a"),
    client_id="client-of-ann",
    client_secret=Secret("s3cret-0f-the-client-81f2"),
)

LOGIN = {"path": "/session", "json": {"email": "{account}", "password": "{password}"}}
BEARER = {
    "flow": "login",
    "steps": [{**LOGIN, "take": {"token": "/data/token", "expires_in": "/data/expires_in"}}],
}
COOKIE = {
    "flow": "login",
    "steps": [{**LOGIN, "take": {"token": {"cookie": "sid"}}}],
    "attach": {"cookie": "sid"},
}

SHAPES: dict[str, dict[str, Any]] = {
    "bearer token, one object a line": {
        "auth": BEARER,
        "chat": {
            "path": "/ask",
            "json": {"question": "{prompt}", "settings": {"engine": "{model}", "temperature": 0.2}},
            "stream": {"framing": "ndjson", "text": "/delta/text", "finish_reason": "/end/reason"},
        },
    },
    "cookie of a form, events": {
        "auth": {
            **COOKIE,
            "steps": [
                {
                    "path": "/login",
                    "form": {"username": "{account}", "password": "{password}", "keep": "1"},
                    "take": {"token": {"cookie": "sid"}},
                }
            ],
        },
        "chat": {
            "path": "/chat",
            "json": {"message": "{prompt}", "requestId": "{uuid4}", "stream": True},
            "stream": {"framing": "sse", "text": "/choices/0/text"},
        },
    },
    "all cookies, text that grows": {
        "auth": {
            "flow": "login",
            "steps": [{**LOGIN, "take": {"token": {"cookie": "*"}}}],
            "attach": {"cookie": "*"},
        },
        "chat": {
            "path": "/chat",
            "json": {"prompt": "{prompt}"},
            "stream": {"framing": "sse", "text": "/message/parts/0", "text_is": "cumulative"},
        },
    },
    "API key in a header, kinds": {
        "auth": {"flow": "api-key", "attach": {"header": "X-Api-Key"}},
        "chat": {
            "path": "/v2/generate",
            "json": {"messages": "{messages}", "model": "{model}"},
            "messages": {
                "form": "array",
                "item": {
                    "author": {"role": "{role}"},
                    "content": [{"type": "text", "t": "{text}"}],
                },
                "roles": {"user": "human", "assistant": "ai"},
            },
            "stream": {
                "framing": "ndjson",
                "text": "/content",
                "kind": "/type",
                "kinds": {"piece": "text", "end": "end"},
            },
        },
    },
    "key in the URL, one object": {
        "auth": {"flow": "api-key", "attach": {"query": "key"}},
        "chat": {
            "path": "/complete",
            "json": {"input": "{prompt}", "n": 1},
            "stream": {"framing": "json", "text": "/result/output"},
        },
    },
    "key as bearer, a list": {
        "auth": {"flow": "api-key"},
        "chat": {
            "path": "/gen",
            "form": {"q": "{prompt}", "model": "{model}", "lang": "en"},
            "stream": {"framing": "json-array", "text": "/parts/0/text"},
        },
    },
    "basic, named events": {
        "auth": {"flow": "basic"},
        "chat": {
            "path": "/chat",
            "json": {"query": "{prompt}"},
            "stream": {
                "framing": "sse-events",
                "text": "/data/text",
                "kind": "/event",
                "kinds": {"chunk": "text", "done": "end"},
            },
        },
    },
    "nothing, the prompt in the URL, text": {
        "chat": {
            "path": "/say",
            "method": "GET",
            "query": {"q": "{prompt}"},
            "stream": {"framing": "text"},
        },
    },
    "multipart, text in events": {
        "auth": {"flow": "api-key", "attach": {"header": "Authorization", "prefix": "Token "}},
        "chat": {
            "path": "/chat",
            "multipart": {"prompt": "{prompt}", "mode": "fast"},
            "stream": {"framing": "sse-text"},
        },
    },
    "client credentials": {
        "auth": {
            "flow": "oauth2",
            "grant": "client_credentials",
            "token_url": "/oauth/token",
            "scope": "chat",
            "client_auth": "body",
        },
        "chat": {
            "path": "/chat",
            "json": {"prompt": "{prompt}"},
            "stream": {"framing": "ndjson", "text": "/t"},
        },
    },
    "login elsewhere, OpenAI's format": {
        "auth": {
            "flow": "login",
            "steps": [{**LOGIN, "take": {"token": "/token"}}],
            "attach": {"header": "X-Auth-Token"},
        },
        "chat": {"format": "openai-chat"},
    },
    "Anthropic's format": {
        "auth": {"flow": "api-key", "attach": {"header": "x-api-key"}},
        "chat": {"format": "anthropic-messages"},
    },
    "Ollama's format": {"chat": {"format": "ollama-chat"}},
}

IN_SEVERAL_REQUESTS: dict[str, dict[str, Any]] = {
    "a conversation is made first": {
        "auth": BEARER,
        "chat": {
            "path": "/chats/{chat_id}/messages",
            "prepare": [
                {"path": "/chats", "json": {"title": "New"}, "take": {"chat_id": "/data/id"}}
            ],
            "json": {"content": "{prompt}"},
            "stream": {"framing": "sse", "text": "/t"},
        },
    },
    "cookies": {
        "auth": COOKIE,
        "chat": {
            "path": "/chat",
            "json": {"prompt": "{prompt}"},
            "stream": {"framing": "ndjson", "text": "/t"},
        },
    },
}


def scripted() -> ScriptedProvider:
    return ScriptedProvider([*PIECES, Finished()])


async def browse(recipe: Recipe, url: str) -> Browser:
    """Log in and ask once, as a browser would, and return what it saw."""
    seen: list[Browser] = []

    def record(sender: Any) -> Any:
        seen.append(Browser(sender, url))
        return seen[0]

    async with client_of(recipe, url, CREDENTIALS, record=record) as (provider, _):
        assert (await ask(provider, PROMPT)).text == TEXT
    return seen[0]


async def check_draft(path: Path, answers: ScriptedProvider, browser: Browser) -> Recipe:
    """Ask with a written recipe, and look for secrets in it."""
    text = path.read_text()
    secrets = [CREDENTIALS.account, *(s.reveal() for s in CREDENTIALS.secrets)]
    secrets += [value for _, answer in browser.seen for value in answer.cookies.values()]
    assert [secret for secret in secrets if secret in text] == []
    assert "fake-" not in text  # so the fake's tokens begin
    assert "Mozilla" not in text
    recipe = parse_recipe(text, path.name)
    async with opened(recipe, CREDENTIALS) as (provider, _):
        assert (await ask(provider, "And of Spain?")).text == TEXT
    assert answers.requests[-1].messages[-1].text == "And of Spain?"
    return recipe


@pytest.mark.parametrize("shape", SHAPES)
async def test_from_curl(tmp_path: Path, shape: str) -> None:
    """Two pasted requests and their answers are enough."""
    recipe = recipe_of(models={"default": "swift-2"}, **SHAPES[shape])
    answers = scripted()
    async with open_fake(recipe, answers, CREDENTIALS) as url:
        browser = await browse(recipe, url)
        arguments = ["--prompt", PROMPT, "--name", f"{recipe.name}-draft"]
        for n, option in zip((-1, 0), ("", "login-")[: len(browser.seen)], strict=False):
            for name, data in (("curl", browser.curl(n).encode()), ("answer", browser.answer(n))):
                file = tmp_path / f"{option}{name}"
                file.write_bytes(data)
                arguments += [f"--{option}{name}", str(file)]
        out = tmp_path / "draft.toml"
        ended = await Cli(tmp_path).run("recipe", "new", str(out), *arguments)
        assert ended.code == 0, ended.err
        assert "The capital of France is Paris" in ended.err
        drafted = await check_draft(out, answers, browser)
    if "{model}" in str(SHAPES[shape]) or "format" in SHAPES[shape]["chat"]:
        assert drafted.models.default == "swift-2"
    if "format" in SHAPES[shape]["chat"]:
        assert drafted.chat.format == SHAPES[shape]["chat"]["format"]
    assert "x-client-version" in out.read_text() or drafted.chat.format != "described"


@pytest.mark.parametrize("shape", IN_SEVERAL_REQUESTS)
@pytest.mark.parametrize("prompt", [PROMPT, None])
async def test_from_a_har_file(tmp_path: Path, shape: str, prompt: str | None) -> None:
    """The login, what makes the conversation, and the chat are found among all requests."""
    recipe, answers = recipe_of(**IN_SEVERAL_REQUESTS[shape]), scripted()
    async with open_fake(recipe, answers, CREDENTIALS) as url:
        browser = await browse(recipe, url)
        (tmp_path / "saved.har").write_bytes(browser.har())
        out = tmp_path / "draft.toml"
        arguments = ["--har", str(tmp_path / "saved.har"), "--name", f"{recipe.name}-draft"]
        arguments += ["--prompt", prompt] if prompt else []
        ended = await Cli(tmp_path).run("recipe", "new", str(out), *arguments)
        assert ended.code == 0, ended.err
        drafted = await check_draft(out, answers, browser)
    assert len(drafted.chat.prepare) == len(recipe.chat.prepare)


async def test_it_tries_the_new_recipe(tmp_path: Path) -> None:
    """As `berlin recipe try` does, with the account and the password that the browser sent."""
    recipe, answers = recipe_of(**SHAPES["bearer token, one object a line"]), scripted()
    async with open_fake(recipe, answers, CREDENTIALS) as url:
        browser = await browse(recipe, url)
        (tmp_path / "saved.har").write_bytes(browser.har())
        out = tmp_path / "draft.toml"
        ended = await Cli(tmp_path).run(
            "recipe", "new", str(out), "--har", str(tmp_path / "saved.har"), "--yes"
        )
    assert ended.code == 0, ended.err
    assert TEXT in ended.out
    assert CREDENTIALS.password.reveal() not in ended.out + ended.err
    assert len(answers.requests) == 2


async def test_from_curl_without_answers(tmp_path: Path) -> None:
    """With `--yes` both are sent, one from a file, one quoted; the chat has the new token."""
    recipe, answers = recipe_of(**SHAPES["bearer token, one object a line"]), scripted()
    async with open_fake(recipe, answers, CREDENTIALS) as url:
        browser = await browse(recipe, url)
        arguments = ["--prompt", PROMPT, "--name", f"{recipe.name}-draft", "--yes"]
        (tmp_path / "login").write_text(browser.curl(0))
        arguments += ["--login-curl", str(tmp_path / "login"), "--curl", browser.curl(1)]
        out = tmp_path / "draft.toml"
        ended = await Cli(tmp_path).run("recipe", "new", str(out), *arguments)
        assert ended.code == 0, ended.err
        await check_draft(out, answers, browser)
    # The browser's chat, the chat that was sent for its answer, the trial, and the check.
    assert len(answers.requests) == 4


async def test_it_asks_for_what_it_needs(tmp_path: Path) -> None:
    """On a terminal everything can be pasted, also what is longer than a terminal's line."""
    recipe, answers = recipe_of(**SHAPES["cookie of a form, events"]), scripted()
    async with open_fake(recipe, answers, CREDENTIALS) as url:
        browser = await browse(recipe, url)
        out = tmp_path / "draft.toml"
        async with Cli(tmp_path).terminal("recipe", "new", str(out), "--no-try") as terminal:
            await terminal.fills("account and password?", "y")
            pastes = (
                ("Paste the login", browser.curl(0)),
                ("answer to the login", browser.answer(0).decode()),
                (
                    "Paste one chat",
                    browser.curl(1) + f" -H 'x-long: {'a b ' * 2000}' -H 'x-mode: fast'",
                ),
                ("answer to one chat", browser.answer(1).decode()),
            )
            for n, (what, pasted) in enumerate(pastes):
                await terminal.sees(what)
                await terminal.asks()
                keys = pasted.replace("\r\n", "\n").replace("\n", "\r")
                # Some terminals mark what is pasted, some do not.
                terminal.types((f"\x1b[200~{keys}\x1b[201~" if n % 2 else keys) + "\r.\r")
            await terminal.sees("The exact text typed")
            terminal.types(PROMPT + "\r")
            assert await terminal.ends() == 0
        text = out.read_text()
        assert 'x-mode = "fast"' in text  # it stands behind the long one
        assert "x-long" not in text
        out.write_text(text.replace(f'name = "{out.stem}"', f'name = "{recipe.name}-draft"'))
        await check_draft(out, answers, browser)


@pytest.mark.parametrize(
    ("files", "message", "leaves_draft"),
    [
        ({"curl": "wget x"}, "not a curl command", False),
        ({"curl": "curl https://a.example.com", "answer": "Hi"}, "which text is the prompt", True),
        (
            {"curl": "curl https://a.example.com -d 'q=Hi'", "answer": "<html>"},
            "a web page",
            True,
        ),
        ({"curl": "curl https://a.example.com -d 'q=Hi'"}, "or --yes to send the request", False),
        ({"har": "{}"}, "not a HAR file", False),
        ({"har": '{"log": {"entries": []}}'}, "no requests in the file", False),
    ],
)
async def test_mistakes_are_told(
    tmp_path: Path, files: dict[str, str], message: str, leaves_draft: bool
) -> None:
    """One line that says what to do; where there is a request, its draft is left all the same."""
    arguments = []
    for option, text in files.items():
        (tmp_path / option).write_text(text)
        arguments += [f"--{option}", str(tmp_path / option)]
    out = tmp_path / "draft.toml"
    ended = await Cli(tmp_path).run("recipe", "new", str(out), *arguments)
    assert (ended.code, out.exists()) == (2, leaves_draft)
    assert message in ended.err
    assert not leaves_draft or "# Missing: " in out.read_text()
    assert "Traceback" not in ended.err


async def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Unless it is to be written over."""
    out = tmp_path / "draft.toml"
    out.write_text("mine")
    (tmp_path / "har").write_text("{}")
    ended = await Cli(tmp_path).run("recipe", "new", str(out), "--har", str(tmp_path / "har"))
    assert (ended.code, out.read_text()) == (2, "mine")
    assert "--force" in ended.err


async def test_nothing_is_asked_without_a_terminal(tmp_path: Path) -> None:
    """Without sources and without a terminal the command names the options that it needs."""
    ended = await Cli(tmp_path).run("recipe", "new", str(tmp_path / "work.toml"))
    assert (ended.code, ended.out) == (2, "")
    assert "give --har, or --curl with --answer" in ended.err
