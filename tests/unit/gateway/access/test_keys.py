"""The API keys: what each allows, and the file that they are kept in."""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import Key, KeyStore, digest
from berlin.types import Secret
from support.clock import Clock


def store(tmp_path: Path, clock: Clock | None = None) -> KeyStore:
    """Return a store in a folder that is not there yet."""
    return KeyStore(tmp_path / "data" / "keys.sqlite", clock or Clock(1_000_000))


def key(*models: str) -> Key:
    """Return a key for models."""
    return Key(id="k1", name="name", models=models, created_at=0.0)


def test_added_key_is_listed(tmp_path: Path) -> None:
    """What was added is what is listed, without the token."""
    known = store(tmp_path)
    made, token = known.add(
        "ci", ["berlin:gpt", "other:*"], expires_at=2_000_000.5, requests_per_minute=60
    )
    plain, other = known.add("Жора")
    assert known.entries() == [made, plain]
    assert made.models == ("berlin:gpt", "other:*")
    assert (made.expires_at, made.requests_per_minute, made.created_at) == (2_000_000.5, 60, 1e6)
    assert (plain.name, plain.models, plain.expires_at) == ("Жора", (), None)
    assert token.reveal().startswith("bk-")
    assert len(token.reveal()) == 46
    assert token != other
    assert made.id != plain.id


def test_no_file_is_no_keys(tmp_path: Path) -> None:
    """Before the first key there is no file, and to look makes none."""
    known = store(tmp_path)
    assert known.entries() == []
    assert not known.revoke("ci")
    assert list(tmp_path.iterdir()) == []


def test_a05_only_hashes_are_in_the_files(tmp_path: Path) -> None:
    """Whoever reads the files finds no key; nobody else can read them."""
    known = store(tmp_path)
    made, token = known.add("ci")
    other = sqlite3.connect(tmp_path / "data" / "keys.sqlite")  # keeps the files of the WAL
    other.execute("SELECT * FROM keys").fetchall()
    known.add("second")
    files = list((tmp_path / "data").iterdir())
    assert len(files) == 4  # with the note that keys are required
    stored = b"".join(file.read_bytes() for file in files)
    modes = [file.stat().st_mode & 0o777 for file in files]
    other.close()
    assert token.reveal().encode() not in stored
    assert token.reveal()[3:].encode() not in stored
    assert digest(token.reveal()) in stored
    assert modes == [0o600] * 4
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert token.reveal() not in repr(made)


def test_revoked_key_stays_listed(tmp_path: Path) -> None:
    """A key is revoked by name or id, once, and its name is free again."""
    clock = Clock(1_000_000)
    known = store(tmp_path, clock)
    first, _ = known.add("ci")
    second, _ = known.add("other")
    clock.now += 5
    assert known.revoke("ci")
    assert not known.revoke("ci")
    assert not known.revoke("nobody")
    assert known.revoke(second.id)
    third, _ = known.add("ci")
    assert [k.state(clock.now) for k in known.entries()] == ["revoked", "revoked", "live"]
    assert known.entries()[0].revoked_at == 1_000_005
    assert third.id != first.id


def test_names_are_unique_among_live_keys(tmp_path: Path) -> None:
    """A name is free again when its key has expired; the id of another key is no name."""
    clock = Clock(1_000_000)
    known = store(tmp_path, clock)
    made, _ = known.add("ci", expires_at=clock.now + 10)
    for name in ("ci", made.id):
        with pytest.raises(ConfigurationError, match="there is a live key"):
            known.add(name)
    clock.now += 10
    known.add("ci")
    assert [k.state(clock.now) for k in known.entries()] == ["expired", "live"]


def test_state_follows_the_clock() -> None:
    """A key is expired from its very second on; a revoked one is revoked whatever the time."""
    dated = Key(id="k1", name="ci", expires_at=100.0, created_at=0.0)
    assert [dated.state(now) for now in (99.9, 100.0, 101.0)] == ["live", "expired", "expired"]
    assert (
        Key(id="k1", name="ci", expires_at=100.0, created_at=0.0, revoked_at=50.0).state(60.0)
        == "revoked"
    )


@pytest.mark.parametrize(
    ("models", "asked", "allowed"),
    [
        ((), "any:thing", True),
        (("berlin:gpt",), "berlin:gpt", True),
        (("berlin:gpt",), "berlin:gpt-2", False),
        (("berlin:gpt",), "berlin:gp", False),
        (("berlin:gpt",), "other:gpt", False),
        (("berlin:gpt",), "gpt", False),
        (("berlin:gpt",), "", False),
        (("berlin:*",), "berlin:gpt", True),
        (("berlin:*",), "berlin:a:b", True),
        (("berlin:*",), "berlin:", True),
        (("berlin:*",), "berlin", False),
        (("berlin:*",), "berlin2:gpt", False),
        (("berlin:*",), "other:berlin:gpt", False),
        (("a:b", "c:*"), "c:d", True),
        (("ollama:llama3:8b",), "ollama:llama3:8b", True),
        (("ollama:llama3:8b",), "ollama:llama3", False),
        # A18: neither case nor a blank makes it another model.
        (("berlin:gpt",), " Berlin:GPT\n", True),
    ],
)
def test_a18_models_that_a_key_allows(models: tuple[str, ...], asked: str, allowed: bool) -> None:
    """A pattern is a whole model or a whole provider, whatever the case."""
    assert key(*models).allows(asked) is allowed


def test_patterns_are_stored_folded(tmp_path: Path) -> None:
    """The case and the blanks of a pattern do not matter either."""
    made, _ = store(tmp_path).add("ci", [" Berlin:GPT ", "berlin:gpt", "Other:*"])
    assert made.models == ("berlin:gpt", "other:*")
    assert made.allows("BERLIN:gpt")


@pytest.mark.parametrize("pattern", ["", " ", "*", "gpt", ":gpt", "a:", "a:g*", "*:a", "a:b\x00c"])
def test_patterns_that_cannot_be(tmp_path: Path, pattern: str) -> None:
    """A pattern that would allow nothing, or more than it seems, is refused."""
    with pytest.raises(ConfigurationError, match="a model is `provider:model` or `provider:\\*`"):
        store(tmp_path).add("ci", [pattern])


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0", "a\u202eb", "x" * 129])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    """A name is printable and short; everything else could lie in a log."""
    with pytest.raises(ConfigurationError, match="1 to 128 printable characters"):
        store(tmp_path).add(name)


@pytest.mark.parametrize("expires_at", [0.0, -1.0, 1_000_000.0, math.inf, math.nan])
def test_expiries_that_cannot_be(tmp_path: Path, expires_at: float) -> None:
    """A key expires at a time that is still to come."""
    with pytest.raises(ConfigurationError, match="expires in the future"):
        store(tmp_path).add("ci", expires_at=expires_at)


@pytest.mark.parametrize("limit", [0, -1, 1_000_001])
def test_a16_limits_that_cannot_be(tmp_path: Path, limit: int) -> None:
    """A limit is a number of requests that can be made."""
    with pytest.raises(ConfigurationError, match="1 to 1,000,000"):
        store(tmp_path).add("ci", requests_per_minute=limit)


def test_a07_names_are_no_sql(tmp_path: Path) -> None:
    """Quotes and SQL in a name are a name."""
    known = store(tmp_path)
    evil = "x'); DROP TABLE keys; --"
    known.add("ci")
    known.add(evil)
    assert not known.revoke("' OR '1'='1")
    assert known.revoke(evil)
    assert [k.state(2e6) for k in known.entries()] == ["live", "revoked"]


def test_file_from_a_newer_version(tmp_path: Path) -> None:
    """A newer schema is not touched: update this one."""
    known = store(tmp_path)
    known.add("ci")
    database = sqlite3.connect(tmp_path / "data" / "keys.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    for use in (known.entries, lambda: known.add("second"), lambda: known.revoke("ci")):
        with pytest.raises(ConfigurationError, match="from a newer version of Berlin: update"):
            use()


@pytest.mark.parametrize("data", [b"garbage" * 1000, b'{"version": 1}', b"SQLite format 3\0" * 99])
def test_file_that_is_not_ours(tmp_path: Path, data: bytes) -> None:
    """A broken file is an error that names it, and it stays as it is."""
    path = tmp_path / "keys.sqlite"
    path.write_bytes(data)
    path.chmod(0o600)
    known = KeyStore(path)
    for use in (known.entries, lambda: known.add("ci"), lambda: known.revoke("ci")):
        with pytest.raises(ConfigurationError, match=f"the keys in {path} cannot be used: "):
            use()
    assert path.read_bytes() == data


def test_torn_file(tmp_path: Path) -> None:
    """A file whose pages are destroyed is an error, not keys."""
    known = store(tmp_path)
    known.add("ci")
    path = tmp_path / "data" / "keys.sqlite"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + os.urandom(len(data) - 4096))
    with pytest.raises(ConfigurationError, match="malformed"):
        known.entries()


@pytest.mark.parametrize("values", ["models = 'garbage'", "models = '[1]'", "created_at = 'soon'"])
def test_rows_that_are_not_ours(tmp_path: Path, values: str) -> None:
    """A row with other values is an error, not a key that allows everything."""
    known = store(tmp_path)
    known.add("ci", ["berlin:*"])
    database = sqlite3.connect(tmp_path / "data" / "keys.sqlite", isolation_level=None)
    database.execute(f"UPDATE keys SET {values}")
    database.close()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        known.entries()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """Keys that another user could read or change are not used."""
    known = store(tmp_path)
    known.add("ci")
    (tmp_path / "data" / "keys.sqlite").chmod(mode)
    for use in (known.entries, lambda: known.add("second")):
        with pytest.raises(ConfigurationError, match="can be read by others; run: chmod 600"):
            use()


def test_file_that_is_a_link_or_a_folder(tmp_path: Path) -> None:
    """What is not a plain file is not written through."""
    (tmp_path / "target").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "folder").mkdir(mode=0o700)
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("link", "folder", "dangling"):
        with pytest.raises(ConfigurationError, match="is not a plain file"):
            KeyStore(tmp_path / name).add("ci")
    assert (tmp_path / "target").read_bytes() == b""
    assert not (tmp_path / "nothing").exists()


_ADD = "import sys; from pathlib import Path; from berlin.gateway.access.keys import KeyStore;" + (
    "KeyStore(Path(sys.argv[1])).add('x' * 100, [f'p:{n}' for n in range(2000)])"
)


def test_full_disk(tmp_path: Path) -> None:
    """Without room the key is not made, the others stay, and the error says so."""
    known = store(tmp_path)
    known.add("ci")
    path = tmp_path / "data" / "keys.sqlite"
    limit = path.stat().st_size + 8192
    ended = subprocess.run(
        [sys.executable, "-c", _ADD, path],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "ConfigurationError: the keys in " in ended.stderr
    assert "full" in ended.stderr or "I/O" in ended.stderr
    assert [k.name for k in known.entries()] == ["ci"]
    known.add("second")


def _add_some(path: Path, who: int) -> None:
    for n in range(10):
        KeyStore(path).add(f"{who}-{n}")
        try:
            KeyStore(path).add(f"same-{n}")
        except ConfigurationError as error:
            assert "there is a live key" in error.message  # noqa: PT017  # it may succeed


def test_processes_add_at_once(tmp_path: Path) -> None:
    """Processes that begin with no file lose no key, and a name is given once."""
    path = tmp_path / "data" / "keys.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_some, args=(path, who)) for who in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    expected = {f"{who}-{n}" for who in range(3) for n in range(10)}
    expected |= {f"same-{n}" for n in range(10)}
    names = [k.name for k in KeyStore(path).entries()]
    assert sorted(names) == sorted(expected)


def test_a20_two_tokens_while_a_key_is_rotated(tmp_path: Path) -> None:
    """The old token is valid for the grace period, the one before it no more; one key is one."""
    clock = Clock(1_000_000)
    known = store(tmp_path, clock)
    made, first = known.add("ci", requests_per_minute=5)
    reader = KeyReader(tmp_path / "data" / "keys.sqlite", clock, clock)

    def valid(*tokens: Secret) -> list[bool]:
        clock.now += 1
        return [reader.find(token.reveal()) is not None for token in tokens]

    rotated = known.rotate("ci", 3600)
    assert rotated is not None
    assert (rotated[0].id, rotated[0].requests_per_minute) == (made.id, 5)
    second = rotated[1]
    assert valid(first, second) == [True, True]
    assert reader.count == 1
    third = known.rotate(made.id, 100)
    assert third is not None
    assert valid(first, second, third[1]) == [False, True, True]
    clock.now += 100
    assert valid(second, third[1]) == [False, True]
    assert known.revoke("ci")
    assert valid(third[1]) == [False]
    assert known.rotate("ci", 0) is None
    reader.close()


def test_a_file_of_the_first_version(tmp_path: Path) -> None:
    """It is read as it is, and gets what it lacks when it is written."""
    path = tmp_path / "keys.sqlite"
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE, "
        "models TEXT NOT NULL, expires_at REAL, requests_per_minute INTEGER, "
        "created_at REAL NOT NULL, revoked_at REAL)"
    )
    row = ("k1", "old", digest("bk-old"), "[]", None, 60, 1e6, None)
    database.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    database.execute("PRAGMA user_version = 1")
    database.commit()
    database.close()
    path.chmod(0o600)
    reader = KeyReader(path, Clock(1_000_000), Clock(1_000_000))
    assert reader.find("bk-old") is not None
    reader.close()
    known = KeyStore(path, Clock(1_000_000))
    known.add("new", user="ann", scopes=["chat"], limits=["5 USD/day"])
    old, new = known.entries()
    assert (old.name, old.requests_per_minute, old.user, old.scopes) == ("old", 60, "", ())
    assert (new.user, new.scopes, new.limits) == ("ann", ("chat",), ("5 USD/day",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits": ["5 dollars/day"]}, "is not a limit"),
        ({"limits": ["0 requests/minute"]}, "a number from 1"),
        ({"limits": ["0.5 requests/minute"]}, "a number from 1"),
        ({"scopes": ["root"]}, "a scope is one of"),
        ({"user": "a\nb"}, "printable"),
    ],
)
def test_a16_what_a_key_cannot_have(tmp_path: Path, options: dict[str, object], said: str) -> None:
    """Limits, scopes and users that make no sense are refused."""
    with pytest.raises(ConfigurationError, match=said):
        store(tmp_path).add("ci", **options)
