"""Files that only their owner may read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from berlin.auth.tokens.private_file import (
    MAX_PRIVATE_BYTES,
    load_private,
    overwrite_private,
    save_private,
)


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_t25_open_folder_and_file_are_closed(tmp_path: Path) -> None:
    """A folder that was open to others is closed, and a file that was open is replaced."""
    path = tmp_path / "berlin" / "file"
    path.parent.mkdir()
    path.parent.chmod(0o777)
    path.write_bytes(b"old")
    path.chmod(0o666)
    save_private(path, b"new")
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert load_private(path) == b"new"


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff" * 1000, b"x" * MAX_PRIVATE_BYTES])
def test_saved_and_loaded(tmp_path: Path, data: bytes) -> None:
    """What was saved is what is loaded; nothing else is left in the folder."""
    path = tmp_path / "berlin" / "file"
    save_private(path, b"before")
    save_private(path, data)
    assert load_private(path) == data
    assert os.listdir(path.parent) == ["file"]


def test_no_file_is_nothing(tmp_path: Path) -> None:
    """Where there is no file, also where there is no folder, there is nothing to load."""
    assert load_private(tmp_path / "file") is None
    assert load_private(tmp_path / "folder" / "file") is None


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_file_open_to_others_is_refused(tmp_path: Path, bits: int) -> None:
    """A file that others can read, write or run is not read; the error says how to mend it."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(bits)
    with pytest.raises(PermissionError, match=f"can be read by others; run: chmod 600 {path}"):
        load_private(path)


def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """A file that belongs to somebody else is not read."""
    path = tmp_path / "file"
    if os.getuid() == 0:
        path.write_bytes(b"x")
        path.chmod(0o600)
        os.chown(path, 12345, 12345)
    else:
        path = Path("/etc/passwd")
    with pytest.raises(PermissionError, match="belongs to another user; remove it"):
        load_private(path)


def test_t26_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO that nobody writes to does not hang the reader."""
    path = tmp_path / "file"
    os.mkfifo(path, 0o600)
    with pytest.raises(PermissionError, match="is not a plain file; remove it"):
        load_private(path)


def test_t26_folder_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the file is an OSError, for reading and for writing."""
    path = tmp_path / "file"
    path.mkdir(mode=0o700)
    with pytest.raises(OSError):
        load_private(path)
    with pytest.raises(IsADirectoryError):
        save_private(path, b"x")
    assert os.listdir(tmp_path) == ["file"]


def test_t26_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file of a gigabyte is refused by its size, without being read."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(2**30)
    path.chmod(0o600)
    with pytest.raises(PermissionError, match="is too large to be ours; remove it"):
        load_private(path)


def test_t26_place_that_cannot_be_read(tmp_path: Path) -> None:
    """A path that leads through a file is an OSError."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        load_private(tmp_path / "file" / "below")
    with pytest.raises(OSError):
        save_private(tmp_path / "file" / "below", b"x")


def test_t27_link_is_never_followed(tmp_path: Path) -> None:
    """A symbolic link, also a dangling one, is neither read nor written through."""
    target, path = tmp_path / "target", tmp_path / "file"
    target.write_bytes(b"mine")
    target.chmod(0o600)
    path.symlink_to(target)
    with pytest.raises(PermissionError, match="is a symbolic link; remove it"):
        load_private(path)
    with pytest.raises(PermissionError, match="is a symbolic link; remove it"):
        save_private(path, b"secret")
    assert target.read_bytes() == b"mine"
    target.unlink()
    with pytest.raises(PermissionError, match="is a symbolic link; remove it"):
        load_private(path)
    with pytest.raises(PermissionError, match="is a symbolic link; remove it"):
        save_private(path, b"secret")
    assert not target.exists()


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    """A disk that is full in the middle of a write leaves the old file and no other one."""
    path = tmp_path / "berlin" / "file"
    save_private(path, b"old")
    # The limit on the size of files stands for the full disk; it is set in a process of its own.
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from berlin.auth.tokens.private_file import save_private\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: save_private(Path(sys.argv[1]), b'x' * 2000)\n"
        "except OSError as error: print(error.errno)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip().isdecimal()
    assert load_private(path) == b"old"
    assert os.listdir(path.parent) == ["file"]


def test_written_over_where_it_is(tmp_path: Path) -> None:
    """On a full disk a file is written over: it holds the new bytes only, and stays private."""
    path = tmp_path / "private"
    save_private(path, b"a long record of before")
    number = path.stat().st_ino
    overwrite_private(path, b"a short one")
    assert load_private(path) == b"a short one"
    assert path.stat().st_ino == number
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_left_of_what_cannot_be_written_over(tmp_path: Path) -> None:
    """A file that cannot be written over is removed: what was in it must not be used again."""
    path = tmp_path / "private"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        overwrite_private(path, b"x")
    assert not path.is_symlink()
