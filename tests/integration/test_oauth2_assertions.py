"""Signed assertions, projected tokens, token exchange; secrets that are read anew."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from berlin import errors
from support.identity_service import IdentityService, make_key
from support.oauth_service import FlowService, provider, reply, settings

EXCHANGE = 'client_auth = "none"'


def auth(grant: str, *lines: str) -> str:
    """Return a table `[auth]`."""
    first = f'[auth]\nflow = "oauth2"\ngrant = "{grant}"\ntoken_url = "/token"\n'
    return first + "".join(f"{line}\n" for line in lines)


def whole(service: FlowService, table: str) -> str:
    """Return a table `[auth]` with the whole URL of the token endpoint: JWTs are for that."""
    return table.replace('"/token"', f'"{service.url}/token"')


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("rsa", "RS256"), ("rsa", "PS256"), ("ec", "ES256")]
)
@pytest.mark.parametrize("grant", ["client_credentials", "jwt_bearer"])
async def test_a_signed_assertion(grant: str, kind: str, algorithm: str, tmp_path: Path) -> None:
    """The client signs who it is, or whom it speaks for, with a key out of a file (RFC 7523)."""
    pem, public = make_key(kind)
    (tmp_path / "key.pem").write_text(pem)
    proof = ['client_auth = "private_key_jwt"'] if grant == "client_credentials" else []
    sign = f'[auth.sign]\nalgorithm = "{algorithm}"\nkey_id = "k1"'
    key = {"file": "key.pem"}
    async with IdentityService() as service:
        service.public_keys["robot"] = public
        described = whole(service, auth(grant, *proof, sign))
        async with provider(
            tmp_path, service.url, described, client_id="robot", private_key=key
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            service.expire_all()
            assert (await berlin.ask("Hello")).text == "good"
    assert service.violations == []
    assert service.claims[0]["sub"] == "robot"
    assert service.claims[0]["kid"] == "k1"
    assert service.claims[0]["exp"] - service.claims[0]["iat"] == 300
    # Not "BEGIN": a random signature in base64 may contain that.
    parts = [line.encode() for line in pem.splitlines() if len(line) == 64]
    assert not [seen for seen in service.seen if any(part in seen.body for part in parts)]


async def test_a_projected_token_is_read_anew(tmp_path: Path) -> None:
    """The file of a projected token is read at each exchange: a new one is used at once."""
    file = tmp_path / "projected"
    file.write_text("first-projected\n")
    async with IdentityService() as service:
        service.projected = {"first-projected"}
        described = auth("token_exchange", EXCHANGE, 'scope = "chat"')
        async with provider(
            tmp_path, service.url, described, assertion={"file": "projected"}
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            service.expire_all()
            service.refreshes.clear()
            service.projected = {"second-projected"}
            file.write_text("second-projected\n")
            assert (await berlin.ask("Hello")).text == "good"
    sent = [seen.form.get("subject_token") for seen in service.at("/token")]
    assert [token for token in sent if token] == ["first-projected", "second-projected"]
    assert service.at("/token")[0].form["scope"] == "chat"


@pytest.mark.parametrize("grant", ["client_credentials", "jwt_bearer"])
async def test_an_assertion_of_somebody_else(grant: str, tmp_path: Path) -> None:
    """A platform's own token proves who the client is, or is exchanged (workload identity)."""
    (tmp_path / "projected").write_text("from-the-platform")
    proof = ['client_auth = "assertion"'] if grant == "client_credentials" else []
    async with IdentityService() as service:
        service.projected = {"from-the-platform"}
        async with provider(
            tmp_path, service.url, auth(grant, *proof), assertion={"file": "projected"}
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"


async def test_a_key_that_cannot_sign(tmp_path: Path) -> None:
    """A key of another kind is an error that shows nothing of it."""
    pem, _ = make_key("ec")
    (tmp_path / "key.pem").write_text(pem)
    described = auth("client_credentials", 'client_auth = "private_key_jwt"')
    async with FlowService() as service:
        async with provider(
            tmp_path, service.url, described, client_id="robot", private_key={"file": "key.pem"}
        ) as berlin:
            with pytest.raises(errors.ConfigurationError, match="cannot sign with RS256") as caught:
                await berlin.ask("Hello")
        assert service.seen == []
    assert pem.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize(
    "sign", ['algorithm = "none"', 'algorithm = "HS256"', 'headers = { alg = "none" }']
)
def test_no_unsigned_jwt(sign: str, tmp_path: Path) -> None:
    """No recipe can ask for a JWT without a signature, or for one whose key others know."""
    described = auth("client_credentials", 'client_auth = "private_key_jwt"', "[auth.sign]", sign)
    with pytest.raises(errors.ConfigurationError, match=r"sign"):
        settings(tmp_path, "http://127.0.0.1:1", described)


def _open_to_others(path: Path) -> None:
    path.write_text("x")
    path.chmod(0o666)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda path: None, "cannot be read: No such file"),
        (Path.mkdir, "not a plain file"),
        (os.mkfifo, "not a plain file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda path: path.write_bytes(b" \n"), "is empty"),
        (lambda path: path.write_bytes(b"x" * 70_000), "longer than"),
        (_open_to_others, "changed by others"),
    ],
    ids=["missing", "folder", "pipe", "bytes", "empty", "large", "open"],
)
async def test_a_file_that_is_no_secret(
    prepare: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    """A file that cannot hold a secret of one's own is named, before anything is sent."""
    prepare(tmp_path / "projected")
    async with FlowService() as service:
        async with provider(
            tmp_path, service.url, auth("token_exchange", EXCHANGE), assertion={"file": "projected"}
        ) as berlin:
            with pytest.raises(errors.ConfigurationError, match=says):
                await berlin.ask("Hello")
        assert service.seen == []


async def test_a_secret_that_a_program_prints(tmp_path: Path) -> None:
    """A password manager is run for each login, and its output is never shown."""
    good = [sys.executable, "-c", "print('password')"]
    bad = [sys.executable, "-c", "import sys; print('so-secret'); sys.exit(3)"]
    described = auth("password")
    async with IdentityService() as service:
        async with provider(
            tmp_path, service.url, described, account="ann", password={"command": good}
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
        async with provider(
            tmp_path, service.url, described, account="ann", password={"command": bad}
        ) as berlin:
            with pytest.raises(errors.ConfigurationError, match="with exit code 3") as caught:
                await berlin.ask("Hello")
    assert "so-secret" not in str(caught.value)


async def test_what_was_read_is_masked(tmp_path: Path) -> None:
    """A service that repeats a secret out of a file is not quoted with it."""
    (tmp_path / "projected").write_text("so-secret-an-assertion")
    echo = {"error": "invalid_grant", "error_description": "not so-secret-an-assertion"}
    async with FlowService() as service:
        service.answers["/token"] = [reply(echo, 400)]
        async with provider(
            tmp_path, service.url, auth("token_exchange", EXCHANGE), assertion={"file": "projected"}
        ) as berlin:
            with pytest.raises(errors.AuthenticationError, match=r"not \*\*\*"):
                await berlin.ask("Hello")


async def test_clocks_that_differ(tmp_path: Path) -> None:
    """An assertion is good for a server whose clock is a minute behind."""
    pem, public = make_key()
    (tmp_path / "key.pem").write_text(pem)
    async with IdentityService() as service:
        service.public_keys["robot"] = public
        described = whole(service, auth("jwt_bearer", "[auth.sign]"))
        async with provider(
            tmp_path, service.url, described, client_id="robot", private_key={"file": "key.pem"}
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    [claims] = service.claims
    assert claims["nbf"] <= time.time() - 55
