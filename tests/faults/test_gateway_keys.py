"""The gateway, sixth part: who may ask (A01 to A18, A21, A22, A24 to A26)."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.keys import KeyStore
from berlin.gateway.catalog import Service
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished
from support.clock import session_clock
from support.gateway import (
    ANTHROPIC,
    BERLIN,
    DIALECTS,
    OLLAMA,
    OPENAI,
    WITH_KEYS,
    At,
    Dialect,
    make_key,
    serve,
)

# A running gateway looks into the file four times a second.
SEEN_S = 1.0
ALL_PAGES = ("/v1/models", "/models", "/v1/models/s:m1", "/api/tags", "/api/version")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.sqlite"


@asynccontextmanager
async def guarded(keys: Path, provider: ScriptedProvider | None = None) -> AsyncIterator[At]:
    """Serve two providers to those who have a key."""
    services = (
        Service("s", provider or ScriptedProvider(), ["m1", "m2"], "m1", {"short": "m2"}),
        Service("t", ScriptedProvider(["other", Finished()]), ["m1"], any_model=True),
    )
    async with serve(*services, keys=keys, aliases={"ours": "t:m1", "mine": "s:m1"}) as at:
        yield at


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_a01_a02_no_key_and_wrong_keys(dialect: Dialect, keys: Path) -> None:
    """Without a good key it is the same 401, whatever was sent, and nobody is asked."""
    provider = ScriptedProvider()
    good = make_key(keys, "k")
    shown = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {good[:-1]}"},
        {"x-api-key": ""},
    )
    async with guarded(keys, provider) as at:
        answers = []
        for headers in shown:
            body = json.dumps(dialect.body("Hi", "s:m1", False)).encode()
            async with at.session.post(at.url + dialect.path, data=body, headers=headers) as answer:
                answers.append((answer.status, await answer.read()))
                assert answer.headers["WWW-Authenticate"]
    assert len(set(answers)) == 1
    assert answers[0][0] == 401
    if dialect is OPENAI:
        error = json.loads(answers[0][1])["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert provider.requests == []


@pytest.mark.parametrize("path", ALL_PAGES)
async def test_a01_no_page_without_a_key(path: str, keys: Path) -> None:
    """The lists of models need a key too."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        assert (await at.get(path)).status == 401
        at.key = good
        assert (await at.get(path)).status == 200


async def test_a01_no_key_is_no_guess(keys: Path) -> None:
    """However often a program without a key asks, on any face, it hears that a key is missing; one
    with a wrong key hears so 30 times."""
    make_key(keys, "k")
    async with guarded(keys) as at:
        for _ in range(10):
            for dialect in WITH_KEYS:
                assert (await at.ask(dialect)).status == 401
            for headers in ({"Authorization": "Bearer "}, {"Authorization": ""}, {"x-api-key": ""}):
                assert (await at.ask(OPENAI, headers=headers)).status == 401
        wrong = [(await at.ask(OPENAI, key=f"guess-{n}")).status for n in range(33)]
        assert (await at.ask(OPENAI)).status == 401
    assert wrong[:31] == [401] * 31
    assert wrong[31:] == [429] * 2


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key", "X-API-KEY"])
@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_a11_each_header_means_the_same_key(
    dialect: Dialect, header: str, keys: Path
) -> None:
    """A key with limits has them in whatever header it comes; other schemes are no keys."""
    key = make_key(keys, "k", "s:m2")
    shown = f"Bearer {key}" if header == "Authorization" else key
    async with guarded(keys) as at:
        allowed = await at.ask(dialect, model="s:m2", headers={header: shown})
        refused = await at.ask(dialect, model="s:m1", headers={header: shown})
        assert allowed.status == 200, allowed.data
        assert refused.status in (403, 404)
        for scheme in ("Basic", "Token", "bearer-x", ""):
            odd = await at.ask(dialect, model="s:m1", headers={"Authorization": f"{scheme} {key}"})
            assert odd.status in (401, 404)


async def test_a03_guesses_are_slowed_down_and_good_keys_are_not(keys: Path) -> None:
    """1,000 wrong keys from one address are nearly all refused unseen; a good key still works."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        statuses: list[int] = []
        for _ in range(10):
            asked = (at.ask(OPENAI, key=f"guess-{n}") for n in range(100))
            statuses += [answer.status for answer in await asyncio.gather(*asked)]
            assert (await at.ask(OPENAI, key=good)).status == 200
        last = await at.ask(OPENAI, key="guess")
    assert statuses.count(401) <= 40
    assert set(statuses) == {401, 429}
    assert int(last.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("name", ["key", "api_key", "api-key", "token", "access_token"])
async def test_a04_key_in_the_query(
    name: str, keys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key in the URL is no key, and no log shows it."""
    caplog.set_level(logging.DEBUG)
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        got = await at.get(f"/v1/models?{name}={good}")
    assert got.status == 401
    assert good not in caplog.text
    assert good.encode() not in got.data


async def test_a05_the_file_holds_hashes(keys: Path) -> None:
    """Who reads the file of keys finds no key in it, and the file is its owner's."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        assert (await at.ask(OPENAI, key=good)).status == 200
        everything = b"".join(path.read_bytes() for path in keys.parent.glob("keys.sqlite*"))
        modes = {path.stat().st_mode & 0o777 for path in keys.parent.glob("keys.sqlite*")}
    assert good.encode() not in everything
    assert good.removeprefix("bk-").encode() not in everything
    assert modes == {0o600}


async def test_a06_keys_that_begin_alike(keys: Path) -> None:
    """Only the whole key counts, also right after another was good."""
    first, second = make_key(keys, "a", "s:m1"), make_key(keys, "b", "s:m2")
    async with guarded(keys) as at:
        for _ in range(3):
            assert (await at.ask(OPENAI, key=first)).status == 200
            assert (await at.ask(OPENAI, key=second)).status == 404
            assert (await at.ask(OPENAI, key=first[:30] + second[30:])).status == 401
            assert (await at.ask(OPENAI, key=first + "x")).status == 401


@pytest.mark.parametrize(
    "key", ["' OR 1=1 --", '"; DROP TABLE keys; --', "%00", "\u00fc\u00e9", "x" * 7000, "bk-", "*"]
)
async def test_a07_odd_keys(key: str, keys: Path) -> None:
    """Quotes, SQL and foreign letters in a key are a 401, and the keys stay."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        line = f"Authorization: Bearer {key}".encode()
        head = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        got = await at.raw(head + line + b"\r\n\r\n")
        assert got.split()[1] == b"401"
        assert (await at.ask(OPENAI, key=good)).status == 200


async def test_a08_revoked_and_expired(keys: Path) -> None:
    """A running gateway refuses a key within a second of its end."""
    ends = time.time() + 30
    gone, short = make_key(keys, "a"), make_key(keys, "b", expires_at=ends)
    async with guarded(keys) as at, guarded(keys) as other:
        for replica in (at, other):
            for key in (gone, short):
                assert (await replica.ask(OPENAI, key=key)).status == 200
        KeyStore(keys).revoke("a")
        await asyncio.sleep(SEEN_S)
        for replica in (at, other):
            assert (await replica.ask(OPENAI, key=gone)).status == 401
        assert at.gateway.guard._keys is not None
        at.gateway.guard._keys._clock = lambda: ends
        assert (await at.ask(OPENAI, key=short)).status == 401
        at.gateway.guard._keys._clock = time.time
        made_now = make_key(keys, "c")
        await asyncio.sleep(SEEN_S)
        assert (await at.ask(OPENAI, key=made_now)).status == 200


async def test_a09_key_that_is_revoked_in_mid_stream(keys: Path) -> None:
    """The answer goes on to its end; the next request is refused."""
    key = make_key(keys, "k")
    provider = ScriptedProvider(["one", SEEN_S, "two", Finished()])
    async with guarded(keys, provider) as at:
        asking = asyncio.create_task(at.ask(OPENAI, key=key, stream=True))
        async with asyncio.timeout(30):
            while not provider.requests:
                await asyncio.sleep(0.01)
        KeyStore(keys).revoke("k")
        got = await asking
        assert got.text == "onetwo"
        assert OPENAI.is_whole(got.data)
        assert (await at.ask(OPENAI, key=key)).status == 401


# Ways to name t:m1 and s:m1, which a key for s:m2 must not reach.
FORBIDDEN = [
    "s:m1",
    "t:m1",
    "t",
    "s",
    "mine",
    "ours",
    "mine:latest",
    "s:",
    "t:m2",
    "s:m1 ",
    "S:M1",
    "m1",
]
ALLOWED = ["s:m2", "s:short", "short", "m2", " s:m2 "]


@pytest.mark.parametrize("dialect", WITH_KEYS, ids=str)
async def test_a10_a18_a_key_for_one_model(dialect: Dialect, keys: Path) -> None:
    """However another model is named, the key does not reach it, and learns nothing of it. The one
    that it is for can be asked by each of its names.
    """
    key = make_key(keys, "k", "s:m2")
    provider = ScriptedProvider()
    async with guarded(keys, provider) as at:
        unknown = await at.ask(dialect, model="no-such", key=key)
        for model in FORBIDDEN:
            got = await at.ask(dialect, model=model, key=key)
            assert got.status == unknown.status == 404, model
            assert set(got.json) == set(unknown.json)
        assert provider.requests == []
        for model in ALLOWED:
            got = await at.ask(dialect, model=model, key=key)
            assert (got.status, got.text) == (200, "Hello"), (model, got.data)


async def test_a10_other_pages_know_the_limits(keys: Path) -> None:
    """A limited key sees its own models only, on every page."""
    async with guarded(keys) as at:
        at.key = make_key(keys, "k", "s:m2")
        await asyncio.sleep(0.3)
        listed = [m["id"] for m in (await at.get("/v1/models")).json["data"]]
        assert listed == ["s:m2"]
        assert [m["name"] for m in (await at.get("/api/tags")).json["models"]] == ["s:m2"]
        assert (await at.get("/v1/models/t:m1")).status == 404
        for path, body in (
            ("/api/show", {"model": "t:m1"}),
            (ANTHROPIC.path + "/count_tokens", ANTHROPIC.body("Hi", "t:m1", False)),
        ):
            async with at.session.post(
                at.url + path, json=body, headers=await at.headers(OPENAI)
            ) as answer:
                assert answer.status == 404


ADMINISTRATION = [
    "/admin", "/v1/keys", "/key/generate", "/key/list", "/config", "/v1/batches", "/v1/files",
    "/v1/files/file-1", "/v1/threads/1", "/spend/logs", "/debug", "/debug/pprof", "/docs",
    "/openapi.json", "/routes", "/api/pull", "/api/delete", "/api/create", "/api/blobs/x",
    "/health/test_connection", "/mcp", "/utils/transform_request",
]  # fmt: skip


async def test_a12_a13_x19_x24_there_is_nothing_to_administer(keys: Path) -> None:
    """No route makes keys, shows others' objects, tests services or debugs."""
    async with guarded(keys) as at:
        at.key = make_key(keys, "k")
        for path in ADMINISTRATION:
            for method in ("GET", "POST", "PUT", "DELETE"):
                assert (await at.get(path, method)).status in (401, 404, 405), (path, method)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a21_a22_no_request_makes_or_shows_keys(method: str, keys: Path) -> None:
    """Keys are made at the command line only: no path makes a wider one, or tells of another."""
    mine, other = make_key(keys, "mine", "s:m1"), make_key(keys, "other", user="bob")
    async with guarded(keys) as at:
        at.key = mine
        for path in ("/key/generate", "/key/info?key=other", "/v1/keys", "/v1/keys/other", "/keys"):
            got = await at.get(path, method)
            assert got.status == 404, path
            assert other[3:11].encode() not in got.data
    assert {key.name for key in KeyStore(keys).entries()} == {"mine", "other"}


async def test_a24_there_are_no_browser_sessions(keys: Path) -> None:
    """No answer sets a cookie, and a cookie is no key: there is nothing for a page to ride on."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        assert (await at.get("/v1/models", Cookie=f"key={good}; token={good}")).status == 401
        for path in ("/", "/v1/models", "/healthz", "/api/login"):
            got = await at.get(path, Authorization=f"Bearer {good}", Accept="text/html")
            assert "Set-Cookie" not in got.headers, path


async def test_a25_rights_that_are_taken_away(keys: Path) -> None:
    """An account that loses a model, or its place, loses it with its session still open."""
    async with guarded(keys) as at:
        await at.headers(BERLIN)  # a login
        users = at.gateway.guard.accounts
        assert isinstance(users, Accounts)
        assert (await at.ask(BERLIN, model="s:m2")).status == 200
        users.known["alice"] = msgspec.structs.replace(users.known["alice"], models=("s:m1",))
        assert (await at.ask(BERLIN, model="s:m2")).status == 404
        assert (await at.ask(BERLIN, model="s:m1")).status == 200
        users.remove("alice")
        assert (await at.ask(BERLIN, model="s:m1")).status == 401


async def test_a14_a_request_cannot_change_its_key(keys: Path) -> None:
    """Members that name a role, an owner or a budget change nothing."""
    key = make_key(keys, "k", "s:m2", requests_per_minute=3)
    before = KeyStore(keys).entries()
    async with guarded(keys) as at:
        for _ in range(3):
            got = await at.ask(
                OPENAI, model="s:m2", key=key, role="admin", budget=1e9, owner="x", models=["*"],
                metadata={"requests_per_minute": 10**6}, user="admin",
            )  # fmt: skip
            assert got.status == 200
        assert (await at.ask(OPENAI, model="s:m2", key=key)).status == 429
    assert KeyStore(keys).entries() == before


async def test_a17_a18_requests_per_minute(keys: Path) -> None:
    """The limit of a key holds over all faces, headers and names of models together."""
    key = make_key(keys, "k", requests_per_minute=5)
    async with guarded(keys) as at:
        statuses = []
        for dialect, model in (
            (OPENAI, "s:m1"), (OPENAI, "S:M1"), (OPENAI, "mine"), (OLLAMA, "mine:latest"),
            (ANTHROPIC, "s:m1 "), (OPENAI, "t:m1"), (OPENAI, "ours"), (ANTHROPIC, "t:m2"),
        ):  # fmt: skip
            got = await at.ask(dialect, model=model, headers={"x-api-key": key})
            statuses.append(got.status)
    assert statuses[-2:] == [429, 429]
    assert statuses[:6].count(200) == 5
    assert 429 not in statuses[:5]
    assert 50 <= int(got.headers["Retry-After"]) <= 61


async def test_a17_at_once(keys: Path) -> None:
    """Of 40 requests at the same time, a limit of 10 lets 10 through."""
    key = make_key(keys, "k", requests_per_minute=10)
    async with guarded(keys) as at:
        answers = await asyncio.gather(*(at.ask(OPENAI, key=key) for _ in range(40)))
    assert sorted(answer.status for answer in answers) == [200] * 10 + [429] * 30


async def test_a26_keys_that_cannot_be_read(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the file is broken no unknown key becomes a good one, and it is not ready."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        assert (await at.ask(OPENAI, key=good)).status == 200
        for path in keys.parent.glob("keys.sqlite*"):
            path.unlink()
        keys.write_bytes(b"this is no database, whatever it says" * 100)
        keys.chmod(0o600)
        await asyncio.sleep(0.4)
        assert (await at.ask(OPENAI, key="unknown")).status == 401
        assert (await at.get("/v1/models")).status in (401, 429)
        assert "keys.unreadable" in caplog.text
        async with asyncio.timeout(30):
            while (await at.get("/readyz")).status == 200:
                await asyncio.sleep(0.2)
        assert (await at.ask(OPENAI, key=good)).status in (401, 503, 429)
        assert "keys unreadable" in (await at.get("/readyz")).data.decode()


async def test_a26_keys_file_that_is_gone(keys: Path) -> None:
    """A gateway that had keys never becomes one that needs none."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        assert (await at.ask(OPENAI, key=good)).status == 200
        for path in keys.parent.glob("keys.sqlite*"):
            path.unlink()
        await asyncio.sleep(0.4)
        assert (await at.get("/v1/models")).status == 401
        assert (await at.ask(OPENAI, key="unknown")).status in (401, 429)


async def test_a26_keys_that_are_locked(keys: Path) -> None:
    """While another process writes, known keys go on and unknown ones stay out."""
    good = make_key(keys, "k")
    async with guarded(keys) as at:
        writer = sqlite3.connect(keys, isolation_level=None)
        try:
            writer.execute("BEGIN EXCLUSIVE")
            await asyncio.sleep(0.4)
            assert (await at.ask(OPENAI, key=good)).status == 200
            assert (await at.ask(OPENAI, key="unknown")).status == 401
        finally:
            writer.close()


async def test_a08_berlin_tokens_end_with_their_time(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token of the Berlin face is good for its lifetime; API keys are no tokens."""
    key, clock = make_key(keys, "k"), session_clock(monkeypatch)
    async with serve(
        Service("s", ScriptedProvider(), ["m1"]), keys=keys, token_lifetime_s=60
    ) as at:
        assert (await at.ask(BERLIN)).status == 200
        clock.now += 60
        assert (await at.ask(BERLIN)).status == 401
        async with at.session.post(
            at.url + BERLIN.path, json=BERLIN.body("Hi", "m", True), headers={"token": key}
        ) as answer:
            assert answer.status == 401
        token = await at.login()
        assert (await at.ask(OPENAI, key=token)).status == 401
