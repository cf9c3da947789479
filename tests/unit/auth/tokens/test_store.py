"""What a token store keeps, and for whom."""

from __future__ import annotations

import msgspec
import pytest

from berlin import errors
from berlin.auth.grant import Grant
from berlin.auth.tokens.store import VERSION, Record, Sealer, TokenKey
from berlin.types import Secret

KEY = TokenKey("strict", "https://a.example", "ann", "f1")
GRANT = Grant(Secret("tell-no-one"), 100.0, 200.0, Secret("nor-this"))
LONG_KEY = Secret("sixteen letters!")


def test_key_digest() -> None:
    """Each member of a key leads to another name, and the name tells none of them."""
    others = [
        msgspec.structs.replace(KEY, **{name: "other"}) for name in TokenKey.__struct_fields__
    ]
    digests = {key.digest for key in (KEY, *others)}
    assert len(digests) == 5
    assert all(len(d) == 40 and d.isalnum() and d.isascii() for d in digests)


def test_key_digest_has_no_seams() -> None:
    """Text that moves from one member to the next is another key."""
    assert TokenKey("a", "b", "", "").digest != TokenKey("ab", "", "", "").digest


def test_grant_there_and_back() -> None:
    """A grant becomes a record and a grant again."""
    assert Record.of(KEY, GRANT).grant() == GRANT
    assert Record.of(KEY, None).grant() is None


def test_belongs() -> None:
    """A record belongs to its recipe, URL and account only."""
    record = Record.of(KEY, GRANT)
    assert record.belongs_to(KEY)
    for name in ("recipe", "url", "account"):
        assert not record.belongs_to(msgspec.structs.replace(KEY, **{name: "other"}))


def test_repr() -> None:
    """A record shows whose it is, and no token."""
    assert repr(Record.of(KEY, GRANT)) == "Record('strict', 'https://a.example', 'ann')"


@pytest.mark.parametrize("key", [None, LONG_KEY])
def test_seal_and_open(key: Secret | None) -> None:
    """What is sealed is opened again."""
    record = Record.of(KEY, GRANT)
    assert Sealer(key).open(Sealer(key).seal(record)) == record


def test_sealed_tells_nothing() -> None:
    """With a key, neither token nor account nor URL stands in the stored bytes."""
    data = Sealer(LONG_KEY).seal(Record.of(KEY, GRANT))
    for text in (b"tell-no-one", b"nor-this", b"example", b"strict", b"token"):
        assert text not in data


def test_sealed_differs_each_time() -> None:
    """The same record is stored as other bytes each time."""
    record = Record.of(KEY, GRANT)
    assert Sealer(LONG_KEY).seal(record) != Sealer(LONG_KEY).seal(record)


@pytest.mark.parametrize("other", [None, Secret("sixteen letters?")])
def test_other_key(other: Secret | None) -> None:
    """What was sealed with another key cannot be opened."""
    data = Sealer(LONG_KEY).seal(Record.of(KEY, GRANT))
    with pytest.raises(ValueError, match=r"another key|malformed"):
        Sealer(other).open(data)


def test_clear_record_under_a_key() -> None:
    """Where there is a key, a record that stands in the clear is not believed."""
    data = Sealer(None).seal(Record.of(KEY, GRANT))
    with pytest.raises(ValueError, match="it was stored with another key, or is damaged"):
        Sealer(LONG_KEY).open(data)


def test_tampered() -> None:
    """A changed byte makes a sealed record worthless."""
    data = bytearray(Sealer(LONG_KEY).seal(Record.of(KEY, GRANT)))
    data[40] ^= 1
    with pytest.raises(ValueError, match="it was stored with another key, or is damaged"):
        Sealer(LONG_KEY).open(bytes(data))


def test_short_key() -> None:
    """A key that could be guessed is refused, and not shown."""
    with pytest.raises(errors.ConfigurationError) as caught:
        Sealer(Secret("swordfish"))
    assert caught.value.message == "the key of the token store needs 16 characters or more"


def test_R18_unknown_members() -> None:
    """A record of a newer release, with members that this one does not know, is read."""
    data = msgspec.json.encode({**msgspec.to_builtins(Record.of(KEY, GRANT)), "colour": ["red"]})
    assert Sealer(None).open(data) == Record.of(KEY, GRANT)


def test_R18_missing_members() -> None:
    """A record of an older release, without the members of this one, is read."""
    record = Sealer(None).open(b'{"recipe":"strict","token":"t"}')
    assert (record.token, record.expires_at, record.refusals) == ("t", None, 0)


def test_R18_written_for_old_releases() -> None:
    """A record holds nothing that it does not need, so that older releases can read it."""
    data = msgspec.json.decode(Sealer(None).seal(Record(recipe="strict", token="t")))
    assert data == {"recipe": "strict", "token": "t"}


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{", b'{"token":7}', b"\xff", b"[" * 100_000]
)
def test_no_record(data: bytes) -> None:
    """What is no record is told as one error that callers know."""
    with pytest.raises((ValueError, RecursionError)):
        Sealer(None).open(data)


def test_T36_future_version() -> None:
    """A record in a later format is not misread."""
    data = msgspec.json.encode({"version": VERSION + 1, "token": "t"})
    with pytest.raises(ValueError, match="it is from a later version of Berlin"):
        Sealer(None).open(data)
