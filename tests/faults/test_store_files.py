"""Faults of tokens, part 4: the files in which processes of one machine share them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest

from berlin.auth.grant import Grant
from berlin.auth.tokens.file_store import FileStore
from berlin.auth.tokens.store import VERSION, Record, Sealer, TokenKey
from berlin.client import Berlin
from berlin.types import Secret
from support.token_processes import workers
from support.token_service import RECIPE, TokenService, key_of, opened_with

PLAIN = Sealer(None)

# Takes a folder; stores two records in turn for ever, or a number of times.
WRITER = """
import sys
from pathlib import Path
from berlin.auth.tokens.file_store import FileStore
from berlin.auth.grant import Grant
from berlin.auth.tokens.store import Record, Sealer, TokenKey
from berlin.types import Secret
key = TokenKey("strict", "http://127.0.0.1:1", "ann", "f")
store = FileStore(Path(sys.argv[1]), Sealer(None))
left = int(sys.argv[2])
print("ready", flush=True)
while left:
    store.save(key, Record.of(key, Grant(Secret("ab"[left % 2] * 16000), 1.0)), None)
    left -= 1
"""

# Takes a folder; holds the lock of a key until it is killed.
HOLDER = """
import sys, time
import msgspec
from pathlib import Path
from berlin.auth.tokens.file_store import FileStore
from berlin.auth.tokens.store import Sealer, TokenKey
lease = FileStore(Path(sys.argv[1]), Sealer(None)).try_lock(TokenKey(*sys.argv[2:]))
print("ready" if lease else "not free", flush=True)
time.sleep(60)
"""
WRITTEN = TokenKey("strict", "http://127.0.0.1:1", "ann", "f")


def record_of(key: TokenKey, token: str = "old") -> Record:
    return Record.of(key, Grant(Secret(token), time.time()))


def process_like(folder: Path, service: TokenService, store: Path, account: str = "ann") -> Berlin:
    """Return a provider that shares nothing with others of this process but the folder."""
    return opened_with(folder, service, FileStore(store, PLAIN), account)


@asynccontextmanager
async def program(text: str, *arguments: object) -> AsyncIterator[Process]:
    """Run a program that prints when it is ready; it is killed at the end."""
    command = (sys.executable, "-c", text, *map(str, arguments))
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the names of the events that were warned of."""
    return [r.getMessage().split()[0] for r in caplog.records if r.levelno >= logging.WARNING]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_T23_eight_processes(tmp_path: Path) -> None:
    """Eight processes that start together with one token file log in once."""
    async with (
        TokenService(login_takes=0.2) as service,
        workers(8, service, tmp_path / "w", "file") as all_of_them,
    ):
        reports = await all_of_them.ask(3)
    assert [report["errors"] for report in reports] == [[]] * 8
    assert len(service.logins) == 1
    assert service.violations == []


async def test_T24_killed_while_it_writes(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves the old or the new record, whole."""
    folder = tmp_path / "tokens"
    FileStore(folder, PLAIN).save(WRITTEN, record_of(WRITTEN, "a" * 16000), None)
    for n in range(8):
        async with program(WRITER, folder, -1) as writer:
            await asyncio.sleep(0.01 + 0.0137 * n)
            writer.send_signal(signal.SIGKILL)
            await writer.wait()
        record = FileStore(folder, PLAIN).load(WRITTEN)
        assert record is not None
        assert record.token in ("a" * 16000, "b" * 16000)
    store = FileStore(folder, PLAIN)
    assert [entry.account for entry in store.entries()] == ["ann"]
    store.save(WRITTEN, record_of(WRITTEN, "new"), None)
    assert store.load(WRITTEN) == FileStore(folder, PLAIN).load(WRITTEN)


async def test_T24_nothing_is_left_of_cleared_tokens(tmp_path: Path) -> None:
    """Clearing the store also removes what killed writers left behind."""
    folder = tmp_path / "tokens"
    FileStore(folder, PLAIN).save(WRITTEN, record_of(WRITTEN), None)
    for n in range(4):
        async with program(WRITER, folder, -1) as writer:
            await asyncio.sleep(0.02 + 0.01 * n)
            writer.send_signal(signal.SIGKILL)
            await writer.wait()
    assert FileStore(folder, PLAIN).delete() == 1
    assert [path.name for path in folder.iterdir() if b"aaaa" in path.read_bytes()] == []
    assert [path.name for path in folder.iterdir() if b"bbbb" in path.read_bytes()] == []


async def test_T25_umask_of_zero(tmp_path: Path) -> None:
    """Files of tokens are for their owner only, whatever the umask is."""
    folder = tmp_path / "data" / "berlin" / "tokens"
    with umask(0):
        async with TokenService() as service, process_like(tmp_path, service, folder) as berlin:
            await berlin.ask("ann")
    names = {path.suffix: path for path in folder.iterdir()}
    assert set(names) == {".json", ".lock"}
    assert {suffix: mode(path) for suffix, path in names.items()} == {
        ".json": 0o600,
        ".lock": 0o600,
    }
    assert mode(folder) == 0o700
    # Who may rename the folder may put another in its place.
    assert mode(folder.parent) & 0o022 == 0


async def test_T25_folder_that_is_open_to_others(tmp_path: Path) -> None:
    """A folder that others could read is closed to them."""
    folder = tmp_path / "tokens"
    folder.mkdir()
    folder.chmod(0o777)
    async with TokenService() as service, process_like(tmp_path, service, folder) as berlin:
        await berlin.ask("ann")
    assert mode(folder) == 0o700


def empty(path: Path) -> None:
    path.touch(0o600)


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(500))
    path.chmod(0o600)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def a_gigabyte(path: Path) -> None:
    path.touch(0o600)
    os.truncate(path, 1 << 30)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def unreadable(path: Path) -> None:
    path.write_bytes(b"whoever may read this reads nothing good")
    path.chmod(0)


def open_to_others(path: Path) -> None:
    path.chmod(0o644)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def wrong_types(path: Path) -> None:
    path.write_bytes(b'{"token": 7, "expires_at": "soon"}')


def future(path: Path) -> None:
    record = msgspec.json.decode(path.read_bytes())
    path.write_bytes(msgspec.json.encode({**record, "version": VERSION + 1}))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "spoil",
    [
        empty,
        garbage,
        cut,
        a_gigabyte,
        fifo,
        unreadable,
        open_to_others,
        deep,
        wrong_types,
        pytest.param(future, id="T36_future"),
    ],
)
async def test_T26_bad_file(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A token file that is no good is ignored with one warning; the login replaces it."""
    folder = tmp_path / "tokens"
    async with TokenService() as service:
        key = key_of(service)
        FileStore(folder, PLAIN).save(key, record_of(key), None)
        path = next(folder.glob("*.json"))
        if spoil is empty:
            path.unlink()
        spoil(path)
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert warnings(caplog) == ["tokens.ignored"]
        assert str(path) in caplog.text
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert warnings(caplog) == ["tokens.ignored"]
    assert mode(path) == 0o600


async def test_T26_folder_in_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder where the token file should be is told once, and costs nothing but the file."""
    folder = tmp_path / "tokens"
    async with TokenService() as service:
        key = key_of(service)
        (folder / f"{key.digest}.json").mkdir(parents=True)
        folder.chmod(0o700)
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert warnings(caplog) == ["tokens.store_failed"]
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_T26_folder_keeps_no_descriptor(tmp_path: Path) -> None:
    """Looking at a folder where a file should be leaves no descriptor open."""
    (tmp_path / f"{WRITTEN.digest}.json").mkdir()
    store = FileStore(tmp_path, PLAIN)
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises(PermissionError, match="not a plain file"):
            store.load(WRITTEN)
    assert len(os.listdir("/dev/fd")) <= before  # garbage of other tests may end meanwhile


async def test_T27_planted_link(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A link where the token file should be is neither read nor written through."""
    folder, elsewhere = tmp_path / "tokens", tmp_path / "elsewhere.json"
    folder.mkdir(0o700)
    async with TokenService() as service:
        key = key_of(service)
        elsewhere.write_bytes(PLAIN.seal(record_of(key, "planted")))
        elsewhere.chmod(0o600)
        before = elsewhere.read_bytes()
        (folder / f"{key.digest}.json").symlink_to(elsewhere)
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert elsewhere.read_bytes() == before
    assert warnings(caplog) == ["tokens.store_failed"]
    assert "is a symbolic link; remove it" in caplog.text


async def test_T27_planted_link_of_the_lock(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A link where the lock file should be creates nothing at its other end."""
    folder, elsewhere = tmp_path / "tokens", tmp_path / "elsewhere"
    folder.mkdir(0o700)
    async with TokenService() as service:
        (folder / f"{key_of(service).digest}.lock").symlink_to(elsewhere)
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert not elsewhere.exists()
    assert warnings(caplog) == ["tokens.store_failed"]


async def test_T28_folder_that_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no folder can be made, tokens stay in the process, with one warning."""
    (tmp_path / "file").write_text("in the way")
    folder = tmp_path / "file" / "tokens"
    async with TokenService() as service, process_like(tmp_path, service, folder) as berlin:
        for _ in range(3):
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
    assert warnings(caplog) == ["tokens.store_failed"]


async def test_T28_disk_full(tmp_path: Path) -> None:
    """Where no byte can be written, a command answers all the same, with one warning."""
    (tmp_path / "strict.toml").write_text(RECIPE)
    config = tmp_path / "berlin.toml"
    async with TokenService() as service:
        config.write_text(
            f'default = "strict"\n[providers.strict]\nrecipe = "strict.toml"\n'
            f'url = "{service.url}"\naccount = "ann"\npassword = "password of ann"\n'
            "[terminal]\nhistory = false\n"
        )
        config.chmod(0o600)
        shell = 'ulimit -f 0; exec "$0" -m berlin chat ann'
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", shell, sys.executable), stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
            env={**os.environ, "BERLIN_CONFIG": str(config)},
        )  # fmt: skip
        out, err = await process.communicate()
        assert len(service.logins) == 1
    assert (process.returncode, out) == (0, b"ann\n")
    assert [line.split()[0] for line in err.decode().splitlines()] == ["tokens.store_failed"]
    assert b"File too large" in err
    folder = tmp_path / "data" / "berlin" / "tokens"
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


async def test_T29_two_writers(tmp_path: Path) -> None:
    """Two processes that write at once leave a whole record, also at every moment between."""
    folder = tmp_path / "tokens"
    async with program(WRITER, folder, 60) as one, program(WRITER, folder, 60) as two:
        looks = 0
        while None in (one.returncode, two.returncode):
            record = FileStore(folder, PLAIN).load(WRITTEN)
            assert record is None or record.token in ("a" * 16000, "b" * 16000)
            looks += record is not None
            await asyncio.sleep(0.001)
    assert (one.returncode, two.returncode) == (0, 0)
    assert looks > 0
    assert len(list(folder.iterdir())) == 1
    assert FileStore(folder, PLAIN).load(WRITTEN) is not None


@pytest.mark.parametrize("other", ["account", "url", "recipe"])
async def test_T30_file_of_another(other: str, tmp_path: Path) -> None:
    """A token file that holds the token of another account, URL or recipe is not used."""
    folder = tmp_path / "tokens"
    async with TokenService() as service:
        key = key_of(service)
        theirs = msgspec.structs.replace(key, **{other: "another"})
        FileStore(folder, PLAIN).save(theirs, record_of(theirs, "theirs"), None)
        next(folder.glob("*.json")).rename(folder / f"{key.digest}.json")
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1
        assert service.violations == []


async def test_T30_other_password(tmp_path: Path) -> None:
    """A token that was got with one password is not used with another."""
    async with TokenService() as service:
        key = key_of(service)
        store = FileStore(tmp_path, PLAIN)
        store.save(msgspec.structs.replace(key, fingerprint="other"), record_of(key), None)
        assert store.load(key) is None


async def test_T31_lock_of_a_dead_process(tmp_path: Path) -> None:
    """The lock of a process that was killed is free at once."""
    folder = tmp_path / "tokens"
    async with TokenService() as service:
        key = key_of(service)
        async with program(HOLDER, folder, *msgspec.structs.astuple(key)) as holder:
            assert FileStore(folder, PLAIN).try_lock(key) is None
            holder.send_signal(signal.SIGKILL)
            await holder.wait()
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"
        assert len(service.logins) == 1


async def test_T31_lock_file_without_a_holder(tmp_path: Path) -> None:
    """A lock file that merely lies there holds nobody up."""
    folder = tmp_path / "tokens"
    folder.mkdir(0o700)
    async with TokenService() as service:
        (folder / f"{key_of(service).digest}.lock").write_text("4711")
        async with process_like(tmp_path, service, folder) as berlin:
            assert (await berlin.ask("ann")).text == "ann"


def test_T31_a_child_that_was_forked_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A lock that is let go is free, though a child that was forked meanwhile still lives."""
    store, key = FileStore(tmp_path / "tokens", Sealer(None)), TokenKey("r", "u", "a", "f")
    lease = store.try_lock(key)
    assert lease is not None
    sleeper = os.fork()
    if not sleeper:
        signal.pause()
        os._exit(0)
    try:
        assert store.try_lock(key) is None
        store.unlock(lease)
        again = store.try_lock(key)
        assert again is not None
        store.unlock(again)
    finally:
        os.kill(sleeper, signal.SIGKILL)
        os.waitpid(sleeper, 0)
