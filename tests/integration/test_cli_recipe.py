"""`berlin recipe check | try | record | replay | schema`, as a person meets them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.cli import Cli
from support.oauth_service import FlowService, OAuthService, Reply, Seen, reply

TOKEN = "tok-9f8d7s6a5f4g3h2j1k0l"
CSRF = "csrf-1a2b3c4d5e6f"
COOKIE = "cookie-7z8y9x0w"
ACCOUNT = "ann.the.user"
PASSWORD = "pw-of-ann-0815"
SECRETS = (TOKEN, CSRF, COOKIE, PASSWORD)
WHO = {"BERLIN_ACCOUNT": ACCOUNT, "BERLIN_PASSWORD": PASSWORD}

RECIPE = """schema = 1
name = "fake"
description = "A service of the tests"

[endpoint]
url = "http://127.0.0.1:1"

[auth]
flow = "login"
attach = { header = "X-Token" }

[[auth.steps]]
path = "/start"
method = "GET"
take = { csrf = { header = "X-Csrf" } }

[[auth.steps]]
path = "/login"
headers = { X-Csrf = "{csrf}" }
json = { user = "{account}", password = "{password}" }
take = { token = "/session/key" }

[[chat.prepare]]
path = "/chats"
json = {}
take = { chat_id = "/id" }

[chat]
path = "/chats/{chat_id}/ask"
options = "/settings"

[chat.json]
q = "{prompt}"
settings = { engine = "{model}" }

[chat.stream]
framing = "sse"
text = "/delta"
finish_reason = "/why"
finish_reasons = { cut = "length" }
input_tokens = "/in"
output_tokens = "/out"
ends = "finish_reason"

[models]
default = "swift"
"""
EVENTS = (
    b'data: {"delta":"Hello"}\n\ndata: {"delta":" ann.the.user"}\n\n'
    b'data: {"why":"cut","in":3,"out":2}\n\n'
)


def _start(seen: Seen) -> Reply:
    return reply({}, 200, ("X-Csrf", CSRF))


def _login(seen: Seen) -> Reply:
    if seen.headers.get("X-Csrf") != CSRF or seen.json.get("password") != PASSWORD:
        return reply({"message": f"no login for {seen.json}"}, 401)
    return reply({"session": {"key": TOKEN}}, 200, ("Set-Cookie", f"sid={COOKIE}; Path=/"))


def _ask(seen: Seen) -> Reply:
    if seen.headers.get("X-Token") != TOKEN:
        return reply({"message": "who are you?"}, 401)
    return Reply(200, EVENTS, (("Content-Type", "text/event-stream"),))


@pytest.fixture
async def service() -> AsyncIterator[FlowService]:
    async with FlowService() as running:
        running.answers |= {
            "/start": [_start],
            "/login": [_login],
            "/chats": [reply({"id": "c-17"})],
            "/chats/c-17/ask": [_ask],
        }
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fake.toml"
    path.write_text(RECIPE)
    path.chmod(0o600)
    return path


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def change(file: Path, old: str, new: str) -> int:
    """Change a recipe, and return the line of the change."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


async def test_check_explains_a_recipe(cli: Cli, file: Path) -> None:
    """`check` tells what is sent, in order, and sends nothing."""
    ended = await cli.run("recipe", "check", str(file), "How are you?")
    assert (ended.code, ended.err) == (0, "")
    wanted = (
        "GET http://127.0.0.1:1/start",
        "takes csrf from the header X-Csrf",
        '"password": "{password}"',
        "takes token from /session/key",
        "in the header X-Token: ***",
        "/chats/CHAT_ID/ask",
        '"q":"How are you?"',
        "server-sent events",
        "asked unless one is named: swift",
    )
    at = [ended.out.find(text) for text in wanted]
    assert -1 not in at
    assert at == sorted(at)


async def test_check_knows_the_shipped_recipes(cli: Cli) -> None:
    """A recipe that comes with Berlin is named without a path."""
    ended = await cli.run("recipe", "check", "berlin")
    assert (ended.code, ended.err) == (0, "")
    assert "/api/login" in ended.out


async def test_check_tells_the_line_of_a_mistake(cli: Cli, file: Path) -> None:
    """A mistake ends with exit code 2, file, line and the nearest name."""
    line = change(file, "finish_reasons", "finish_resons")
    ended = await cli.run("recipe", "check", str(file))
    assert (ended.code, ended.out) == (2, "")
    assert f"fake.toml, line {line}: unknown key 'finish_resons'" in ended.err
    assert "did you mean 'finish_reasons'?" in ended.err


async def test_d05_check_warns_of_secrets(cli: Cli, file: Path) -> None:
    """A secret in the clear is a warning with its line, and is not shown."""
    line = change(file, '"{password}"', '"hunter2-secret"')
    file.chmod(0o644)
    ended = await cli.run("recipe", "check", str(file))
    assert ended.code == 0
    assert f"line {line}: auth.steps.json.password is a value for 'password'" in ended.err
    assert "others can read" in ended.err
    assert "hunter2-secret" not in ended.out + ended.err
    file.chmod(0o600)
    assert "others can read" not in (await cli.run("recipe", "check", str(file))).err


async def test_try_shows_every_step(cli: Cli, file: Path, service: FlowService) -> None:
    """`try` shows requests, answers, what was found, the text and how it ended."""
    args = ("--url", service.url, "-o", "temperature", "0.5", "-m", "fast")
    ended = await cli.run("recipe", "try", str(file), "Hi", *args, **WHO)
    assert (ended.code, ended.err) == (0, "")
    for text in (
        f"-> GET {service.url}/start",
        'takes token: /session/key -> "***"',
        "sets the cookie sid=***",
        "X-Token: ***",
        'takes chat_id: /id -> "c-17"',
        '{"q":"Hi","settings":{"engine":"fast","temperature":0.5}}',
        'text: /delta -> "Hello"',
        "finish_reason: /why -> nothing",
        "Text: Hello ann.the.user\nFinish reason: length\nUsage: 3 tokens in, 2 out\n",
    ):
        assert text in ended.out
    assert service.paths == ["/start", "/login", "/chats", "/chats/c-17/ask"]


async def test_s01_try_shows_no_secret(cli: Cli, file: Path, service: FlowService) -> None:
    """No secret shows, not even where the recipe looks for the token in the wrong place."""
    for old, new in (("/session/key", "/session/key"), ("/session/key", "/tok")):
        change(file, old, new)
        ended = await cli.run("recipe", "try", str(file), "--url", service.url, **WHO)
        assert not [secret for secret in SECRETS if secret in ended.out + ended.err]


async def test_try_uses_no_stored_token(cli: Cli, file: Path, service: FlowService) -> None:
    """Each trial logs in anew, and stores nothing."""
    for _ in range(2):
        await cli.run("recipe", "try", str(file), "--url", service.url, **WHO)
    assert len(service.at("/login")) == 2
    assert not list(cli.data.glob("tokens*"))


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("/session/key", "/token", 3, "the answer has /session/key (24 characters)"),
        ('"/login"', '"/logon"', 5, "nothing answers to POST /logon (404)"),
        ('header = "X-Token"', 'header = "Token"', 3, "in the header Token"),
        ('"/delta"', '"/text"', 5, "there is nothing at /text, but text at /delta"),
        ('framing = "sse"', 'framing = "ndjson"', 5, 'that is framing = "sse"'),
        ('"/chats/{chat_id}/ask"', '"/chats/{chat_id}/say"', 5, "nothing answers to POST /chats/"),
        ('"/id"', '"/ident"', 5, "the answer has /id (4 characters)"),
    ],
)
async def test_try_names_the_wrong_line(
    old: str, new: str, code: int, said: str, cli: Cli, file: Path, service: FlowService
) -> None:
    """A mistake that only the service shows is told with its line."""
    line = change(file, old, new)
    ended = await cli.run("recipe", "try", str(file), "--url", service.url, **WHO)
    assert ended.code == code
    assert said in ended.out
    assert f"Likely wrong: {file}, line {line} (" in ended.out
    assert ended.err.startswith("berlin: ")


async def test_try_with_a_wrong_password(cli: Cli, file: Path, service: FlowService) -> None:
    """A refused login is told, and what the service echoes of the password is masked."""
    environ = {**WHO, "BERLIN_PASSWORD": "wrong-secret-42"}
    ended = await cli.run("recipe", "try", str(file), "--url", service.url, **environ)
    assert ended.code == 3
    assert "refuses the login (401)" in ended.out
    assert "wrong-secret-42" not in ended.out + ended.err


async def test_try_reads_the_password_from_a_pipe(
    cli: Cli, file: Path, service: FlowService
) -> None:
    """Scripts give the password on standard input."""
    args = ("--url", service.url, "--account", ACCOUNT, "--password-stdin")
    ended = await cli.run("recipe", "try", str(file), *args, stdin=PASSWORD + "\n")
    assert (ended.code, ended.err) == (0, "")


async def test_try_asks_on_a_terminal(cli: Cli, file: Path, service: FlowService) -> None:
    """A person types account and password; the password is not shown."""
    async with cli.terminal("recipe", "try", str(file), "--url", service.url) as terminal:
        await terminal.fills("Account", ACCOUNT)
        await terminal.fills("Password:", PASSWORD)
        await terminal.sees("Finish reason: length")
        assert await terminal.ends() == 0
        assert PASSWORD not in terminal.text


async def test_try_asks_for_nothing_without_a_terminal(cli: Cli, file: Path) -> None:
    """Without credentials and without a terminal it ends with exit code 2."""
    ended = await cli.run("recipe", "try", str(file))
    assert ended.code == 2
    assert "no terminal to ask on" in ended.err


async def test_credentials_of_another_service_are_not_sent(
    cli: Cli, file: Path, service: FlowService
) -> None:
    """What the environment has for BERLIN_URL does not go to another URL."""
    environ = {**WHO, "BERLIN_URL": "https://other.example"}
    ended = await cli.run("recipe", "try", str(file), "--url", service.url, **environ)
    assert ended.code == 2
    assert "belongs to BERLIN_URL" in ended.err
    assert service.seen == []


async def test_try_uses_the_credentials_of_a_provider(
    cli: Cli, file: Path, service: FlowService
) -> None:
    """A provider that uses the file brings its URL and its credentials."""
    folder = cli.config.parent
    cli.configure(
        f'[providers.work]\nrecipe = "fake.toml"\nurl = "{service.url}"\n'
        f'account = "{ACCOUNT}"\npassword = {{ env = "PW" }}\n'
    )
    (folder / "fake.toml").write_text(RECIPE)
    ended = await cli.run("recipe", "try", str(folder / "fake.toml"), PW=PASSWORD)
    assert (ended.code, ended.err) == (0, "")
    assert service.at("/login")[0].json["user"] == ACCOUNT


async def test_try_oauth(cli: Cli, tmp_path: Path) -> None:
    """A token request is shown without the client's secret and without the token."""
    auth = RECIPE[: RECIPE.index("[auth]")] + (
        '[auth]\nflow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "/token"\n'
        '[chat]\npath = "/chat"\njson = { prompt = "{prompt}" }\n'
        '[chat.stream]\nframing = "ndjson"\ntext = "/content"\n'
    )
    file = tmp_path / "oauth.toml"
    file.write_text(auth)
    async with OAuthService() as service:
        who = {"BERLIN_CLIENT_ID": "client", "BERLIN_CLIENT_SECRET": "secret"}
        ended = await cli.run("recipe", "try", str(file), "--url", service.url, **who)
    assert (ended.code, ended.err) == (0, "")
    assert "The token request" in ended.out
    assert "Text: good" in ended.out
    assert "access-1" not in ended.out
    assert "Authorization: Basic ***" in ended.out or "Authorization: ***" in ended.out


async def test_record_and_replay(
    cli: Cli, file: Path, service: FlowService, tmp_path: Path
) -> None:
    """A record has mode 0600 and no secret, and plays again without the service."""
    out = tmp_path / "answer.json"
    ended = await cli.run("recipe", "record", str(file), str(out), "--url", service.url, **WHO)
    assert (ended.code, ended.err) == (0, "")
    assert out.stat().st_mode & 0o777 == 0o600
    text = out.read_text()
    assert not [secret for secret in (*SECRETS, ACCOUNT) if secret in text]
    assert len(json.loads(text)["turns"]) == 4
    before = len(service.seen)
    played = await cli.run("recipe", "replay", str(out))
    assert (played.code, played.out) == (0, "Hello ***\n")
    assert "The same as recorded" in played.err
    assert len(service.seen) == before


async def test_record_never_writes_over_a_file_unasked(
    cli: Cli, file: Path, service: FlowService, tmp_path: Path
) -> None:
    """A file that is there stays, unless `--force` says otherwise; then nobody else can read it."""
    out = tmp_path / "answer.json"
    out.write_text("mine")
    out.chmod(0o644)
    args = ("recipe", "record", str(file), str(out), "--url", service.url)
    ended = await cli.run(*args, **WHO)
    assert (ended.code, out.read_text(), service.seen) == (2, "mine", [])
    ended = await cli.run(*args, "--force", **WHO)
    assert ended.code == 0
    assert out.stat().st_mode & 0o777 == 0o600


async def test_record_of_a_failure_writes_nothing(
    cli: Cli, file: Path, service: FlowService, tmp_path: Path
) -> None:
    """A trial that fails is diagnosed, and leaves no file."""
    change(file, '"/delta"', '"/text"')
    out = tmp_path / "answer.json"
    ended = await cli.run("recipe", "record", str(file), str(out), "--url", service.url, **WHO)
    assert ended.code == 5
    assert "Likely wrong" in ended.out
    assert not out.exists()


async def test_replay_tells_what_differs(
    cli: Cli, file: Path, service: FlowService, tmp_path: Path
) -> None:
    """A record that leads elsewhere now ends with exit code 5 and the difference."""
    out = tmp_path / "answer.json"
    await cli.run("recipe", "record", str(file), str(out), "--url", service.url, **WHO)
    document = json.loads(out.read_text())
    document["text"] = "Goodbye"
    out.write_text(json.dumps(document))
    ended = await cli.run("recipe", "replay", str(out))
    assert ended.code == 5
    assert "the text is 'Hello ***'; the transcript has 'Goodbye'" in ended.err


@pytest.mark.parametrize("data", [None, b"", b"{}", b"\xff\xfe", b'{"transcript":2}'])
async def test_replay_of_what_is_no_record(data: bytes | None, cli: Cli, tmp_path: Path) -> None:
    """A file that is no record ends with exit code 2 and one line."""
    out = tmp_path / "answer.json"
    if data is not None:
        out.write_bytes(data)
    ended = await cli.run("recipe", "replay", str(out))
    assert (ended.code, ended.err.count("\n")) == (2, 1)


async def test_schema_is_json(cli: Cli) -> None:
    """`schema` prints a JSON Schema with each table of the language."""
    ended = await cli.run("recipe", "schema")
    assert (ended.code, ended.err) == (0, "")
    document = json.loads(ended.out)
    assert "framing" in document["definitions"]["StreamMap"]["properties"]


async def test_the_group_lists_its_commands(cli: Cli) -> None:
    """`berlin recipe --help` names every command."""
    ended = await cli.run("recipe", "--help")
    names = ("new", "check", "try", "serve", "record", "replay", "schema")
    assert all(f"\n  {name} " in ended.out for name in names)
