"""Stored responses: their bounds, whose they are, and how they are found."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from berlin.config.schema import ResponsesConfig
from berlin.config.tables.base import Reference
from berlin.errors import ConfigurationError, InvalidRequestError, UnavailableError
from berlin.gateway.stored.open import open_stored
from berlin.gateway.stored.record import Record
from berlin.gateway.stored.responses import StoredResponseNotFoundError, StoredResponses
from berlin.gateway.stored.sqlite import SqliteEngine
from support.clock import Clock


def record(id: str, tenant: str = "t", previous: str = "", text: str = "x") -> Record:
    """Return a small record with one item of input and one of output."""
    sent = [{"type": "message", "role": "user", "content": text, "id": f"msg_{id}_in"}]
    output = [{"type": "message", "id": f"msg_{id}_out"}]
    body = json.dumps({"id": id, "output": output}).encode()
    ids = (f"msg_{id}_in", f"msg_{id}_out")
    return Record(id, tenant, previous, json.dumps(sent).encode(), body, ids)


@pytest.fixture(params=["memory", "file"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """Where the engine is."""
    return tmp_path / "deep" / "responses.sqlite" if request.param == "file" else None


@pytest.fixture
def clock() -> Clock:
    """The engine's clock."""
    return Clock()


@pytest.fixture
def engine(at: Path | None, clock: Clock) -> Iterator[SqliteEngine]:
    """An engine that keeps three responses for ten seconds."""
    made = SqliteEngine(at, 10, 3, 10_000, clock)
    yield made
    made.close()


def test_a_response_is_only_its_tenants(engine: SqliteEngine) -> None:
    """Another tenant finds neither the response nor an item of it, and cannot delete it."""
    engine.put(record("a"))
    assert engine.get("t", "a") == Record(*_without_ids(record("a")))
    assert engine.get("other", "a") is None
    assert engine.find("other", "msg_a_out") is None
    assert not engine.delete("other", "a")
    found = engine.find("t", "msg_a_out")
    assert found is not None
    assert found.id == "a"


def test_a_deleted_response_leaves_nothing(engine: SqliteEngine) -> None:
    """Its items are gone with it, and it cannot be deleted twice."""
    engine.put(record("a"))
    assert engine.delete("t", "a")
    assert not engine.delete("t", "a")
    assert engine.get("t", "a") is None
    assert engine.find("t", "msg_a_in") is None


def test_an_id_that_a_service_uses_twice(engine: SqliteEngine, clock: Clock) -> None:
    """Where two processes got one id, neither response is found: the client of one would continue
    the other's. Other tenants are not concerned, and in time the id is free again."""
    engine.put(record("a"))
    engine.put(record("a", "other"))
    for text in ("y", "z"):
        with pytest.raises(OSError, match="twice"):
            engine.put(record("a", text=text))
        assert engine.get("t", "a") is None
        assert engine.find("t", "msg_a_out") is None
        assert not engine.delete("t", "a")
    assert engine.get("other", "a") is not None
    clock.now += 11
    engine.put(record("a"))
    assert engine.get("t", "a") is not None


def test_each_use_keeps_a_response_for_longer(engine: SqliteEngine, clock: Clock) -> None:
    """It is forgotten ten seconds after its last use, not after it was made."""
    engine.put(record("a"))
    clock.now += 9
    assert engine.get("t", "a") is not None
    clock.now += 9
    assert engine.get("t", "a") is not None
    clock.now += 11
    assert engine.get("t", "a") is None
    assert not engine.delete("t", "a")
    engine.put(record("b"))
    assert engine.find("t", "msg_a_in") is None


def test_the_largest_tenant_gives_way(engine: SqliteEngine, clock: Clock) -> None:
    """A tenant that stores without end pushes out its own responses, the oldest first."""
    engine.put(record("mine", "small"))
    for n in range(5):
        clock.now += 1
        engine.put(record(f"r{n}", "large", text="x" * 100))
    assert engine.get("small", "mine") is not None
    kept = [n for n in range(5) if engine.get("large", f"r{n}") is not None]
    assert kept == [3, 4]


def test_bytes_are_bounded(at: Path | None, clock: Clock) -> None:
    """What is over the limit goes; what is larger than the limit by itself is an error."""
    engine = SqliteEngine(at, 10, 100, 1_000, clock)
    engine.put(record("a", text="x" * 600))
    clock.now += 1
    engine.put(record("b", text="x" * 600))
    assert engine.get("t", "a") is None
    assert engine.get("t", "b") is not None
    with pytest.raises(OSError, match="larger than all"):
        engine.put(record("c", text="x" * 2_000))
    assert engine.get("t", "b") is not None
    engine.close()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    """The file has mode 0600 in a folder with mode 0700, and holds what was stored before."""
    path = tmp_path / "data" / "responses.sqlite"
    engine = SqliteEngine(path, 10, 3, 10_000)
    engine.put(record("a"))
    engine.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    again = SqliteEngine(path, 10, 3, 10_000)
    assert again.get("t", "a") is not None
    again.close()


def test_a_file_that_is_not_ours_is_an_error_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file and a link are named, and not written to."""
    monkeypatch.setattr("berlin.gateway.stored.open.data_path", lambda name: tmp_path / name)
    path = tmp_path / "responses.sqlite"
    path.write_bytes(b"not a database, but long enough to be read as one" * 100)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="not a database"):
        open_stored(ResponsesConfig(store="file"))
    assert path.read_bytes() == before
    path.unlink()
    (tmp_path / "other").write_bytes(b"")
    path.symlink_to(tmp_path / "other")
    with pytest.raises(ConfigurationError, match="symbolic"):
        open_stored(ResponsesConfig(store="file"))


async def test_a_history_is_all_that_was_said() -> None:
    """The items of a chain come oldest first, input before output."""
    stored = StoredResponses.in_memory()
    stored.put(partial(record, "a"))
    stored.put(partial(record, "b", previous="a"))
    found = await stored.history("t", "b")
    ids = [item["id"] for item in found]
    assert ids == ["msg_a_in", "msg_a_out", "msg_b_in", "msg_b_out"]
    assert set(await stored.items("t", ["msg_a_out", "nothing"])) == {"msg_a_in", "msg_a_out"}
    stored.close()


async def test_a_broken_chain_is_not_found() -> None:
    """A response whose predecessor is gone cannot be gone on from: nothing is left out."""
    stored = StoredResponses.in_memory()
    stored.put(partial(record, "a"))
    stored.put(partial(record, "b", previous="a"))
    await stored.delete("t", "a")
    with pytest.raises(StoredResponseNotFoundError, match="'a'"):
        await stored.history("t", "b")
    stored.close()


async def test_a_circle_ends() -> None:
    """Responses that go on from each other, in a file that was changed, are an error."""
    stored = StoredResponses.in_memory()
    stored.put(partial(record, "a", previous="b"))
    stored.put(partial(record, "b", previous="a"))
    with pytest.raises(StoredResponseNotFoundError):
        await stored.history("t", "b")
    stored.close()


async def test_a_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small request cannot make the gateway read without end, by ids or by references."""
    monkeypatch.setattr("berlin.gateway.stored.responses.MAX_HISTORY_BYTES", 1_000)
    stored = StoredResponses.in_memory()
    stored.put(partial(record, "a", text="x" * 600))
    stored.put(partial(record, "b", previous="a", text="x" * 600))
    assert len(await stored.history("t", "a")) == 2
    with pytest.raises(InvalidRequestError, match=r"previous_response_id: .*longer"):
        await stored.history("t", "b")
    with pytest.raises(InvalidRequestError, match=r"input: .*longer"):
        await stored.items("t", ["msg_a_in", "msg_b_in"])
    stored.close()


async def test_nothing_is_kept_where_the_store_is_off() -> None:
    """All questions are answered with 404."""
    stored = open_stored(ResponsesConfig(store="off"))
    assert not stored.is_on
    stored.put(partial(record, "a"))
    with pytest.raises(StoredResponseNotFoundError):
        await stored.get("t", "a")
    with pytest.raises(StoredResponseNotFoundError):
        await stored.history("t", "a")
    assert await stored.items("t", ["x"]) == {}
    stored.close()


class Broken:
    """An engine whose disk is full and cannot be read."""

    def put(self, record: Record) -> None:
        raise OSError("no space")

    def get(self, tenant: str, id: str) -> Record | None:
        raise OSError("cannot be read")

    def find(self, tenant: str, item_id: str) -> Record | None:
        raise OSError("cannot be read")

    def delete(self, tenant: str, id: str) -> bool:
        raise OSError("cannot be read")

    def close(self) -> None:
        pass


async def test_a_store_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be stored is a warning; what cannot be read is a 503."""
    stored = StoredResponses(Broken())
    stored.put(partial(record, "a"))
    with pytest.raises(UnavailableError):
        await stored.get("t", "a")
    stored.close()
    assert "responses.not_stored" in caplog.text or "store_failed" in caplog.text


def test_a_wrong_store_is_an_error_at_the_start(tmp_path: Path) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=r"responses\.store"):
        open_stored(ResponsesConfig(store="postgres"))
    with pytest.raises(ConfigurationError, match=r"responses\.store"):
        open_stored(ResponsesConfig(store=Reference("NOT_SET")), {})


def _without_ids(stored: Record) -> tuple[str, str, str, bytes, bytes]:
    return stored.id, stored.tenant, stored.previous, stored.input, stored.response
