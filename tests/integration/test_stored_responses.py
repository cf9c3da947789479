"""Responses that outlive a process: in a file, and in a Redis that replicas share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from berlin.config.schema import ResponsesConfig
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.stored import responses
from berlin.gateway.stored.open import open_stored
from berlin.gateway.stored.record import Record
from berlin.gateway.stored.redis import PREFIX, RedisEngine
from berlin.gateway.stored.responses import StoredResponses
from berlin.gateway.stored.sqlite import SqliteEngine
from berlin.gateway.streaming import OpenStreams
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, Secret, TextDelta
from support.gateway import At, serve
from support.responses import read_stream
from support.stored import SlowEngine
from support.token_processes import Redis, redis_server


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A Redis of its own."""
    async with redis_server(tmp_path) as server:
        yield server


async def ask(
    stored: StoredResponses, method: str, path: str, **body: Any
) -> tuple[int, Any, ScriptedProvider]:
    """Ask a gateway that begins anew, as a restarted one or another replica does."""
    provider = ScriptedProvider([TextDelta("Hello"), Finished()])
    gateway = Gateway(Catalog([Service("s", provider, ["m1"])]), stored=stored)
    async with serve(gateway=gateway) as at:
        given = {"model": "s:m1", **body} if method == "POST" else None
        async with at.session.request(method, at.url + path, json=given) as answer:
            return answer.status, json.loads(await answer.read()), provider


async def may_fall_back(config: ResponsesConfig) -> None:
    """Ask, and go on from it in another process: twice, by id and by reference."""
    _, made, _ = await ask(open_stored(config), "POST", "/v1/responses", input="Hi")
    status, again, _ = await ask(open_stored(config), "GET", f"/v1/responses/{made['id']}")
    assert (status, again) == (200, made)
    [said] = made["output"]
    reference = {"type": "item_reference", "id": said["id"]}
    for body in ({"previous_response_id": made["id"], "input": "And"}, {"input": [reference]}):
        status, _, provider = await ask(open_stored(config), "POST", "/v1/responses", **body)
        assert status == 200
        assert "Hello" in [message.text for message in provider.requests[0].messages]
    status, _, _ = await ask(open_stored(config), "DELETE", f"/v1/responses/{made['id']}")
    gone, _, _ = await ask(open_stored(config), "GET", f"/v1/responses/{made['id']}")
    assert (status, gone) == (200, 404)


async def test_a_file_outlives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one gateway stored, the next one finds; a deleted response is gone for good."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    await may_fall_back(ResponsesConfig(store="file"))
    assert (tmp_path / "berlin" / "responses.sqlite").exists()


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    """Several workers write and read one file."""
    path = tmp_path / "responses.sqlite"
    one, other = (StoredResponses(SqliteEngine(path, 60, 100, 10**6)) for _ in "ab")
    _, made, _ = await ask(one, "POST", "/v1/responses", input="Hi")
    status, again, _ = await ask(other, "GET", f"/v1/responses/{made['id']}")
    assert (status, again) == (200, made)


async def test_replicas_share_a_redis(redis: Redis) -> None:
    """What one replica stored, another one finds."""
    await may_fall_back(ResponsesConfig(store=redis.url))


async def test_redis_forgets_in_time(redis: Redis) -> None:
    """Every key that is written has an end, the items of a response too."""
    _, made, _ = await ask(
        open_stored(ResponsesConfig(store=redis.url, expire_s=30)),
        "POST",
        "/v1/responses",
        input="Hi",
    )
    engine = RedisEngine(Secret(redis.url), 30, 10**6)
    names = [name.decode() for name in engine._redis.client.scan_iter(f"{PREFIX}*")]
    assert f"{PREFIX}:{made['id']}" in names
    assert len(names) == 3
    assert all(0 < engine._redis.client.ttl(name) <= 30 for name in names)
    engine.close()


async def test_replicas_that_get_one_id_mix_nothing(redis: Redis) -> None:
    """Of two responses with one id, as a service's, neither is found."""
    engines = [RedisEngine(Secret(redis.url), 30, 10**6) for _ in range(2)]
    body = b'{"id":"resp_1","output":[]}'
    records = [Record("resp_1", "t", "", b'["%d"]' % n, body, ("msg_1",)) for n in range(2)]
    engines[0].put(records[0])
    assert engines[1].get("t", "resp_1") == records[0]
    with pytest.raises(OSError, match="twice"):
        engines[1].put(records[1])
    for engine in engines:
        assert engine.get("t", "resp_1") is None
        assert engine.find("t", "msg_1") is None
        assert not engine.delete("t", "resp_1")
        engine.close()


async def test_a_redis_that_is_gone_costs_no_answer(redis: Redis) -> None:
    """Answers go on; what is stored cannot be read, and that is a 503."""
    config = ResponsesConfig(store=redis.url)
    await redis.stop()
    status, made, _ = await ask(open_stored(config), "POST", "/v1/responses", input="Hi")
    read, error, _ = await ask(open_stored(config), "GET", f"/v1/responses/{made['id']}")
    went_on, _, _ = await ask(
        open_stored(config), "POST", "/v1/responses", input="x", previous_response_id=made["id"]
    )
    assert (status, read, went_on) == (200, 503, 503)
    assert "stored responses" in error["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_end_waits_until_it_is_stored(stream: bool) -> None:
    """Another worker may get the follow-up: no client sees an end that is not stored yet."""
    engine, provider = SlowEngine(), ScriptedProvider([TextDelta("Hello"), 0.01, Finished()])
    stored, streams = StoredResponses(engine), OpenStreams(keep_alive_s=0.01)
    gateway = Gateway(Catalog([Service("s", provider, ["m1"])]), stored=stored, streams=streams)
    body = {"model": "s:m1", "input": "Hi", "stream": stream}
    async with serve(gateway=gateway) as at:
        asked = asyncio.create_task(post(at, body))
        await asyncio.to_thread(engine.asked.wait, 30)
        for _ in range(50):
            async with at.session.get(at.url + "/healthz") as answer:
                assert answer.status == 200
        assert not asked.done()
        assert at.gateway.streams.open.now == 1  # a stop waits for it
        engine.may.set()
        data = await asked
    assert b'"completed"' in data
    assert not stream or read_stream(data), "no keep-alive is between the last event and the end"
    stored.close()


async def test_a_store_that_hangs_does_not_stop_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end waits for a while; after that it is sent with a warning in the log."""
    monkeypatch.setattr(responses, "MAX_WRITE_S", 0.01)
    engine, provider = SlowEngine(), ScriptedProvider([TextDelta("Hello"), Finished()])
    stored = StoredResponses(engine)
    gateway = Gateway(Catalog([Service("s", provider, ["m1"])]), stored=stored)
    async with serve(gateway=gateway) as at:
        assert b"Hello" in await post(at, {"model": "s:m1", "input": "Hi"})
        engine.may.set()
    stored.close()
    assert "responses.slow" in caplog.text


async def post(at: At, body: dict[str, Any]) -> bytes:
    """Return the bytes of an answer."""
    async with at.session.post(at.url + "/v1/responses", json=body) as answer:
        assert answer.status == 200
        return await answer.read()
