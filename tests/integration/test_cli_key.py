"""`berlin key`: keys made, listed and revoked by a person or a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.gateway.access.keys import KeyStore
from support.cli import Cli


def store(cli: Cli) -> KeyStore:
    """Return the user's keys."""
    return KeyStore(cli.data / "keys.sqlite")


async def test_key_alone_is_on_stdout(tmp_path: Path) -> None:
    """The key can be piped; that it is shown once is said on stderr; the file is private (A05)."""
    cli = Cli(tmp_path)
    ended = await cli.run("key", "add", "ci")
    assert ended.code == 0
    assert ended.out.startswith("bk-")
    assert len(ended.out) == len("bk-") + 43 + len("\n")
    (key,) = store(cli).entries()
    assert ended.err == f"berlin: this is the key 'ci' ({key.id}); it is not shown again\n"
    path = cli.data / "keys.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert ended.out.strip().encode() not in path.read_bytes()


async def test_what_a_key_may_do(tmp_path: Path) -> None:
    """Models, the limit and the expiry are kept as they were given."""
    cli = Cli(tmp_path)
    options = ("--model", "berlin:GPT", "--model", "other:*", "--rpm", "60", "--expires", "30d")
    assert (await cli.run("key", "add", "ci", *options)).code == 0
    assert (await cli.run("key", "add", "dated", "--expires", "2100-01-31")).code == 0
    ci, dated = store(cli).entries()
    assert ci.models == ("berlin:gpt", "other:*")
    assert ci.requests_per_minute == 60
    assert ci.expires_at is not None
    assert ci.expires_at - ci.created_at == pytest.approx(30 * 86_400, abs=2)
    assert dated.expires_at == 4_105_036_800


async def test_list_and_revoke(tmp_path: Path) -> None:
    """The list shows all keys and their states, and no key; a revoked one stays listed."""
    cli = Cli(tmp_path)
    token = (await cli.run("key", "add", "ci", "--model", "a:b", "--rpm", "5")).out.strip()
    assert (await cli.run("key", "add", "other", "--expires", "2100-01-31")).code == 0
    revoked = await cli.run("key", "revoke", "ci")
    assert (revoked.code, revoked.err) == (0, "")
    assert revoked.out.startswith("ci is revoked;")
    again = await cli.run("key", "revoke", "ci")
    assert again.code == 2
    assert "there is no key 'ci' to revoke" in again.err
    ended = await cli.run("key", "list")
    header, first, second = ended.out.splitlines()
    assert header.split()[:5] == ["ID", "NAME", "STATE", "MODELS", "PER"]
    ci, other = store(cli).entries()
    assert first.split()[:5] == [ci.id, "ci", "revoked", "a:b", "5"]
    assert first.endswith("never")
    assert second.split()[:5] == [other.id, "other", "live", "all", "-"]
    assert second.endswith("2100-01-31 00:00")
    assert token not in ended.out + ended.err
    assert (await cli.run("key", "revoke", other.id)).code == 0


async def test_no_keys(tmp_path: Path) -> None:
    """Without a key the list is a header, and nothing is made."""
    cli = Cli(tmp_path)
    ended = await cli.run("key", "list")
    assert (ended.code, len(ended.out.splitlines()), ended.err) == (0, 1, "")
    assert not cli.data.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--expires", "soon"), "neither a span such as 12h, 30d or 4w nor a day"),
        (("--expires", "-1d"), "neither a span"),
        (("--expires", "999999999d"), "neither a span"),
        (("--expires", "2020-02-30"), "neither a span"),
        (("--expires", "2020-01-01"), "expires in the future"),
        (("--expires", "0d"), "expires in the future"),
        (("--rpm", "0"), "0 is not in the range"),
        (("--rpm", "nan"), "not a valid integer"),
        (("--model", "*"), "a model is `provider:model` or `provider:*`"),
    ],
)
async def test_a16_values_that_cannot_be(
    tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    """What cannot be is refused with exit code 2, and no key is made."""
    cli = Cli(tmp_path)
    ended = await cli.run("key", "add", "ci", *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert store(cli).entries() == []


async def test_name_is_taken(tmp_path: Path) -> None:
    """A second live key of a name is refused; the first one stays."""
    cli = Cli(tmp_path)
    assert (await cli.run("key", "add", "ci")).code == 0
    ended = await cli.run("key", "add", "ci")
    assert (ended.code, ended.out) == (2, "")
    assert "there is a live key 'ci': revoke it first, or take another name" in ended.err
    assert len(store(cli).entries()) == 1


async def test_broken_file(tmp_path: Path) -> None:
    """A file that is not ours is named in one line, by every command."""
    cli = Cli(tmp_path)
    cli.data.mkdir(parents=True, mode=0o700)
    path = cli.data / "keys.sqlite"
    path.write_bytes(b"garbage" * 1000)
    path.chmod(0o600)
    for args in (("add", "ci"), ("list",), ("revoke", "ci")):
        ended = await cli.run("key", *args)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"berlin: the keys in {path} cannot be used: ")
        assert ended.err.count("\n") == 1


async def test_rotate(tmp_path: Path) -> None:
    """A rotation prints a new token, says until when the old one is valid, and keeps the rest.

    The limit of money has a warning, because no model has a price.
    """
    cli = Cli(tmp_path)
    options = ("--limit", "5 USD/day", "--user", "ann", "--scope", "chat")
    added = await cli.run("key", "add", "ci", *options)
    assert "warning: no model has a price" in added.err
    first = added.out
    ended = await cli.run("key", "rotate", "ci", "--grace", "30m")
    assert ended.code == 0
    assert ended.out.startswith("bk-")
    assert ended.out != first
    assert "the old one is valid until " in ended.err
    (key,) = store(cli).entries()
    assert (key.limits, key.user, key.scopes) == (("5 USD/day",), "ann", ("chat",))
    assert key.old_expires_at is not None
    assert key.old_expires_at - key.created_at == pytest.approx(1800, abs=120)
    wrong = await cli.run("key", "rotate", "ci", "--grace", "soon")
    assert (wrong.code, "is not a span" in wrong.err) == (2, True)
    assert (await cli.run("key", "rotate", "nobody")).code == 2
