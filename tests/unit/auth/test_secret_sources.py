"""Secrets that are read at each login: a member of a JSON file, a caller's token."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from berlin.auth.credentials import Credentials
from berlin.auth.secret_sources import CallerSecret, FileSecret
from berlin.auth.tokens.store import TokenKey
from berlin.errors import ConfigurationError, MissingCredentialsError
from berlin.types import Secret


def test_a_member_of_a_json_file(tmp_path: Path) -> None:
    """`at` takes one member, as in a service account's key file."""
    file = tmp_path / "account.json"
    file.write_text('{"client": {"private_key": "-----BEGIN"}}')
    assert FileSecret(str(file), "/client/private_key").read() == "-----BEGIN"


@pytest.mark.parametrize(
    ("data", "at"),
    [
        (b"the-token", ""),
        (b"the-token\n", ""),
        (b"the-token\r\n", ""),
        (b"\xef\xbb\xbfthe-token\n", ""),
        (b'{"key": "the-token\\n"}', "/key"),
        (b'\xef\xbb\xbf{"key": "the-token"}', "/key"),
    ],
)
def test_line_ends_and_marks_are_no_part_of_a_secret(data: bytes, at: str, tmp_path: Path) -> None:
    """White space around a secret, and the byte order mark of an editor, are left out."""
    file = tmp_path / "secret"
    file.write_bytes(data)
    assert FileSecret(str(file), at).read() == "the-token"


def test_a_projected_volume_that_turns(tmp_path: Path) -> None:
    """A folder that is replaced as a whole, as in Kubernetes, is followed at each read."""
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
        (tmp_path / "new").symlink_to(version)
        (tmp_path / "new").rename(tmp_path / "data")
        if version == "first":
            (tmp_path / "token").symlink_to("data/token")
        assert FileSecret(str(tmp_path / "token")).read() == version


@pytest.mark.skipif(os.name != "posix", reason="there are no modes")
@pytest.mark.parametrize("path", ["/proc/self/mem", "/dev/null", "/", "gone", "loop", "pipe"])
def test_what_is_no_secret_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices, folders, pipes and what cannot be read are errors of the configuration."""
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    with pytest.raises(ConfigurationError):
        FileSecret(path).read()


@pytest.mark.parametrize("text", ["not JSON", "{}", '{"key": 5}', '{"key": ""}', '["key"]'])
def test_a_member_that_is_not_there(tmp_path: Path, text: str) -> None:
    """What is not text at that place is an error that names the place and shows no value."""
    file = tmp_path / "account.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        FileSecret(str(file), "/key").read()
    assert str(caught.value) == f"there is no text at /key of the file {file}"


def test_a_file_has_the_identity_that_it_had_before(tmp_path: Path) -> None:
    """The place of a secret identifies the login; a member of a file is another place."""
    whole, member = FileSecret("/a"), FileSecret("/a", "/key")
    prints = [
        Credentials.checked("test", client_id="c", private_key=source).fingerprint()
        for source in (whole, whole, member)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_fingerprint_is_only_slow_when_a_store_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Comparing credentials costs no slow hash: 1,000 providers are loaded without one."""
    made: list[bytes] = []

    def scrypt(text: bytes, **more: Any) -> bytes:
        made.append(text)
        return hashlib.blake2b(text, digest_size=16).digest()

    monkeypatch.setattr("berlin.auth.credentials.hashlib.scrypt", scrypt)
    first, same = (Credentials.of("ann", "pw", source).fingerprint() for source in "ab")
    other = Credentials.of("ann", "pw2").fingerprint()
    assert (first == same, first == other, hash(first) == hash(same)) == (True, False, True)
    assert not made
    keys = [TokenKey("r", "u", "ann", print) for print in (first, same, other)]
    assert keys[0].digest == keys[0].digest == keys[1].digest != keys[2].digest
    assert len(made) == 3
    assert keys[0].digest == TokenKey("r", "u", "ann", str(first)).digest
    assert "pw" not in repr(keys)


def test_the_token_of_a_caller_is_not_read() -> None:
    """Without a caller there is no token; with one, it is an ordinary credential."""
    ours = Credentials.checked("test", client_id="gateway", assertion=CallerSecret())
    assert ours.of_caller == "assertion"
    with pytest.raises(MissingCredentialsError, match="no caller here"):
        ours.fresh()
    theirs = ours.on_behalf_of(Secret("token-of-ann"))
    assert theirs.of_caller == ""
    assert theirs.fresh().values() == {"client_id": "gateway", "assertion": "token-of-ann"}
    assert "token-of-ann" not in repr(theirs)
