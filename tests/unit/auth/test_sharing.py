"""Whose permissions those of a file's group are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace as Entry

import pytest

from berlin.auth import sharing
from berlin.auth.secret_sources import FileSecret
from berlin.auth.sharing import shared_bits
from berlin.config.files import doubts
from berlin.errors import ConfigurationError

ANN = Entry(pw_name="ann", pw_uid=1000, pw_gid=1000)
BOB = Entry(pw_name="bob", pw_uid=1001, pw_gid=1001)
PRIVATE = Entry(gr_name="ann", gr_mem=["ann"])


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    known = sharing._is_private_group
    known.cache_clear()
    yield
    known.cache_clear()


def become_ann(patch: pytest.MonkeyPatch, group: Entry, *others: Entry) -> None:
    """Let this process be the user `ann`, and the group 1000 be this one."""
    patch.setattr("os.getuid", lambda: 1000)
    patch.setattr("pwd.getpwuid", {1000: ANN}.__getitem__)
    patch.setattr("pwd.getpwall", lambda: [ANN, *others])
    patch.setattr("grp.getgrgid", {1000: group}.__getitem__)


def status(mode: int, gid: int = 1000) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, 1000, gid, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("group", "others", "gid", "is_private"),
    [
        (PRIVATE, [BOB], 1000, True),
        (Entry(gr_name="ann", gr_mem=[]), [], 1000, True),
        (Entry(gr_name="ann", gr_mem=["ann", "bob"]), [BOB], 1000, False),
        (Entry(gr_name="users", gr_mem=[]), [], 1000, False),
        (PRIVATE, [Entry(pw_name="eve", pw_uid=7, pw_gid=1000)], 1000, False),
        (PRIVATE, [], 1001, False),
    ],
)
def test_the_group_of_a_file(
    group: Entry,
    others: list[Entry],
    gid: int,
    *,
    is_private: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Only a group of the user's name, without any other member, is not of others."""
    become_ann(monkeypatch, group, *others)
    (file := tmp_path / "x").touch()
    assert shared_bits(file, status(0o100664, gid)) == (0o004 if is_private else 0o064)
    assert shared_bits(file, status(0o100666, gid)) & 0o002
    assert shared_bits(file, status(0o100600, gid)) == 0


def test_an_access_control_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With one, the bits of the group are those of everybody in it."""
    become_ann(monkeypatch, PRIVATE)
    lists = ["system.posix_acl_access"]
    monkeypatch.setattr("os.listxattr", lambda file: lists, raising=False)
    assert shared_bits(tmp_path, status(0o100664)) == 0o064


def test_files_of_a_private_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Configurations, recipes and files with secrets use the same rule."""
    (file := tmp_path / "secret").write_text("x")
    file.chmod(0o660)
    for is_private in (True, False):
        monkeypatch.setattr(sharing, "_is_private_group", lambda gid, is_=is_private: is_)
        assert bool(doubts(file)) is not is_private
    with pytest.raises(ConfigurationError, match="can be changed by others"):
        FileSecret(str(file)).read()
    monkeypatch.setattr(sharing, "_is_private_group", lambda gid: True)
    assert FileSecret(str(file)).read() == "x"
