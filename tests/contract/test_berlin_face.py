"""The Berlin face: who gets in, and which requests are refused."""

from __future__ import annotations

import asyncio
import json

import pytest

from berlin.providers.scripted import ScriptedProvider
from support.clock import session_clock
from support.face import CHAT, LOGIN, body, open_face


async def test_login_gives_a_token() -> None:
    """The right password gets a new token at `data.token`, which no cache may keep."""
    async with open_face(ScriptedProvider()) as face:
        status, said, answer = await face.post(
            LOGIN, {"account": "alice", "password": "pass-of-alice"}
        )
        assert status == 200
        assert list(said) == ["data"]
        assert len(said["data"]["token"]) >= 43  # 256 bits
        assert answer.headers["Cache-Control"] == "no-store"
        assert await face.login() != said["data"]["token"]


async def test_wrong_password_and_unknown_account_look_alike() -> None:
    """Nothing tells an account that is not there from a wrong password."""
    async with open_face(ScriptedProvider()) as face:
        wrong = await face.post(LOGIN, {"account": "alice", "password": "guess"})
        unknown = await face.post(LOGIN, {"account": "nobody", "password": "guess"})
    assert wrong[:2] == unknown[:2] == (401, {"code": 401, "message": "wrong account or password"})


NO_LOGINS = [
    (b"", "the body is not JSON: "),
    (b"account=alice&password=x", "the body is not JSON: "),
    (b'{"account": "alice"', "the body is not JSON: "),
    (b'{"account": "al\xff", "password": "x"}', "the body is not JSON: "),
    (b'{"account":' + b"[" * 60_000, "the body is not JSON: "),
    (b"[]", "the body must be a JSON object"),
    (b'"text"', "the body must be a JSON object"),
    (b"{}", "account: missing"),
    (b'{"account": "alice"}', "password: missing"),
    (b'{"account": 7, "password": "x"}', "account: must be text"),
    (b'{"account": "alice", "password": null}', "password: must be text"),
    (b'{"account": "alice", "password": {"$ne": ""}}', "password: must be text"),
]


async def test_login_that_cannot_be_read() -> None:
    """A body that is no login is a 400 that names what is wrong."""
    async with open_face(ScriptedProvider()) as face:
        for data, message in NO_LOGINS:
            status, said, _ = await face.post(LOGIN, data)
            assert status == said["code"] == 400, data[:80]
            assert said["message"].startswith(message)


async def test_guessing_in_parallel_is_slowed_down() -> None:
    """Forty wrong passwords at the same time are not more guesses than one after the other."""
    async with open_face(ScriptedProvider()) as face:
        guess = {"account": "alice", "password": "guess"}
        answers = await asyncio.gather(*(face.post(LOGIN, guess) for _ in range(40)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {401, 429}
    # Each wait is twice as long as the one before, so even a test of a minute sees few more.
    assert statuses.count(401) <= 12


async def test_guessing_is_slowed_down() -> None:
    """After five wrong passwords even the right one has to wait; other accounts do not (A03)."""
    async with open_face(ScriptedProvider()) as face:
        guess = {"account": "alice", "password": "guess"}
        for _ in range(5):
            assert (await face.post(LOGIN, guess))[0] == 401
        for password in ("guess", "pass-of-alice"):
            status, said, answer = await face.post(
                LOGIN, {"account": "alice", "password": password}
            )
            assert (status, said) == (
                429,
                {"code": 429, "message": "too many wrong passwords; wait"},
            )
            assert answer.headers["Retry-After"] == "2"
        await face.login("bob")


async def test_right_password_ends_the_count() -> None:
    """Four wrong passwords and a right one count as none."""
    async with open_face(ScriptedProvider()) as face:
        for _ in range(2):
            for _ in range(4):
                assert (await face.post(LOGIN, {"account": "alice", "password": "guess"}))[0] == 401
            await face.login("alice")


@pytest.mark.parametrize("token", [None, "", "wrong", "x" * 8000, "' OR 1=1 --"])
async def test_token_that_is_none(token: str | None) -> None:
    """Without a good token there is no answer, and the provider is not asked."""
    provider = ScriptedProvider()
    async with open_face(provider) as face:
        status, said, _ = await face.post(CHAT, body(), token)
    assert (status, said["code"]) == (401, 401)
    assert said["message"] == "the token is missing, wrong or expired: log in"
    assert provider.requests == []


async def test_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is good for its lifetime and not longer."""
    clock = session_clock(monkeypatch)
    async with open_face(ScriptedProvider(), token_lifetime_s=60) as face:
        token = await face.login()
        headers = {"token": token}
        async with face.session.post(face.url + CHAT, json=body(), headers=headers) as answer:
            assert answer.status == 200
        clock.now += 60
        assert (await face.post(CHAT, body(), token))[0] == 401


async def test_two_tokens_are_none() -> None:
    """Two headers with a token are refused, also if one of them is good (G38)."""
    async with open_face(ScriptedProvider()) as face:
        good = await face.login()
        for pair in ((good, "other"), ("other", good), (good, good)):
            headers = [("token", token) for token in pair]
            async with face.session.post(face.url + CHAT, json=body(), headers=headers) as answer:
                assert answer.status == 401


async def test_token_is_read_from_its_header_only() -> None:
    """A good token in the query, a cookie or another header is no token (A04)."""
    async with open_face(ScriptedProvider()) as face:
        good = await face.login()
        for query, headers in (
            (f"?token={good}", {}),
            ("", {"Cookie": f"token={good}"}),
            ("", {"Authorization": f"Bearer {good}"}),
        ):
            async with face.session.post(
                face.url + CHAT + query, json=body(), headers=headers
            ) as answer:
                assert answer.status == 401


NO_REQUESTS = [
    (b"", "the body is not JSON: "),
    (b"prompt=Hi", "the body is not JSON: "),
    (b'{"prompt": "\xff\xfe"}', "the body is not UTF-8 text (byte 12)"),
    (json.dumps(body()).encode("utf-16"), "the body is not UTF-8 text (byte 0)"),
    (b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "the body is not JSON: "),
    (b"[]", "the body must be a JSON object"),
    (b"null", "the body must be a JSON object"),
    (b"{}", "prompt: missing"),
    (b'{"prompt": "Hi"}', "parentMessageId: missing"),
    (b'{"prompt": "Hi", "parentMessageId": "x"}', "options.model: missing"),
    (b'{"prompt": "Hi", "parentMessageId": "x", "options": 7}', "options.model: missing"),
    (json.dumps(body(7)).encode(), "prompt: must be text"),
    (json.dumps(body(None)).encode(), "prompt: must be text"),
    (json.dumps(body(model=7)).encode(), "options.model: must be text"),
]


async def test_request_that_cannot_be_read() -> None:
    """A body that is no request is a 400 that names the member (G09, G10, G14)."""
    provider = ScriptedProvider()
    async with open_face(provider) as face:
        token = await face.login()
        for data, message in NO_REQUESTS:
            status, said, _ = await face.post(CHAT, data, token)
            assert status == said["code"] == 400, data[:80]
            assert said["message"].startswith(message)
    assert provider.requests == []


@pytest.mark.parametrize("path", [LOGIN, CHAT])
async def test_body_that_is_too_large(path: str) -> None:
    """More than 20 MiB is a 413 (G07)."""
    async with open_face(ScriptedProvider()) as face:
        status, said, _ = await face.post(path, b" " * (20 * 2**20 + 1), await face.login())
    assert (status, said["code"]) == (413, 413)


@pytest.mark.parametrize(
    "path", ["/x", "/api", "/api/login/", "//api//login", "/api/x%00", "/.git"]
)
async def test_unknown_path(path: str) -> None:
    """Another path is a 404 in JSON, in the words of the face to which it is next (G35)."""
    async with open_face(ScriptedProvider()) as face:
        status, said, _ = await face.post(path, {"account": "alice", "password": "pass-of-alice"})
    assert status == 404
    assert "there is no such path here" in str(said)


async def test_bad_token_is_refused_before_the_body() -> None:
    """A bad token is refused before the body is read."""
    async with open_face(ScriptedProvider()) as face:
        host, port = face.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n"
            "token: no\r\nContent-Length: 99999\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
