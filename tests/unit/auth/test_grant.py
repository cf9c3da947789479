"""What a login's answer means: the token, and until when it is good."""

from __future__ import annotations

import base64
import json

import pytest

from berlin import errors
from berlin.auth.grant import MAX_TOKEN_BYTES, check_token, parse_grant, read_jwt_expiry

NOW = 1_700_000_000.0


def jwt(claims: object) -> str:
    """Return an unsigned JSON Web Token."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{payload}.c2ln"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"expires_in": 60}, NOW + 60),
        ({"expires_in": "60"}, NOW + 60),
        ({"expires_in": 0.5}, NOW + 0.5),
        ({"expires_in": -5}, NOW),
        ({"expires_in": True}, None),
        ({"expires_in": "soon"}, None),
        ({"expires_in": "1e999"}, None),
        ({"expires_in": 10**400}, None),
        ({"expires_in": None, "expires_in_ms": 1500}, NOW + 1.5),
        ({"expires_in_ms": "1500"}, NOW + 1.5),
        ({"expires_at": NOW + 9}, NOW + 9),
        ({"expires_at": int((NOW + 9) * 1000)}, NOW + 9),
        ({"expires_at": str(int(NOW + 9))}, NOW + 9),
        ({"expires_at": "2023-11-14T22:13:29Z"}, NOW + 9),
        ({"expires_at": "2023-11-14T22:13:29"}, NOW + 9),
        ({"expires_at": "2023-11-14T23:13:29+01:00"}, NOW + 9),
        ({"expires_at": ""}, None),
        ({"expires_in": 1, "expires_in_ms": 2, "expires_at": 3}, NOW + 1),
    ],
)
def test_expiry(values: dict[str, object], expected: float | None) -> None:
    """Seconds, milliseconds, a moment or an ISO 8601 time say until when a token is good."""
    assert parse_grant({"token": "t", **values}, NOW, "", "the login").expires_at == expected


@pytest.mark.parametrize("said", ["next Tuesday", "never", "", "99999-01-01", "\x00"])
def test_expiry_that_is_no_time(said: str) -> None:
    """Words that say no time cost no login: until when the token is good is not known."""
    assert parse_grant({"token": "t", "expires_at": said}, NOW, "", "").expires_at is None


@pytest.mark.parametrize(
    "said",
    [
        "1970-01-12T13:46:41Z",
        "1970-01-12T13:46:41.1234567Z",
        "1970-01-12T13:46:41+0000",
        "1970-01-12 13:46:41 UTC",
        "Mon, 12 Jan 1970 13:46:41 GMT",
    ],
)
def test_forms_of_an_expiry(said: str) -> None:
    """Times as .NET, Go, databases and HTTP write them are understood."""
    found = parse_grant({"token": "t", "expires_at": said}, NOW, "", "").expires_at
    assert found is not None
    assert int(found) == 1_000_001


def test_expiry_of_a_jwt() -> None:
    """A JSON Web Token says by itself until when it is good."""
    token = jwt({"exp": NOW + 7, "sub": "ann"})
    assert parse_grant({"token": token}, NOW, "", "the login").expires_at == NOW + 7


def test_expiry_beside_a_jwt() -> None:
    """What the answer says goes before what the JSON Web Token says."""
    token = jwt({"exp": NOW + 7})
    assert (
        parse_grant({"token": token, "expires_in": 60}, NOW, "", "the login").expires_at == NOW + 60
    )


@pytest.mark.parametrize(
    "token",
    [
        "opaque",
        "a.b",
        "a.b.c.d",
        "a.%%%.c",
        jwt([1, 2]),
        jwt("text"),
        jwt({}),
        jwt({"exp": None}),
        jwt({"exp": [1]}),
        jwt({"exp": True}),
        "a.bm90IGpzb24.c",
        f"a.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.c",
    ],
)
def test_no_jwt_expiry(token: str) -> None:
    """What is no JSON Web Token, or has no expiry, has none; it is never an error."""
    assert read_jwt_expiry(token, NOW) is None


@pytest.mark.parametrize("token", [None, ""])
def test_no_token(token: str | None) -> None:
    """An answer without a token is a refusal, and says what the service said."""
    expected = "^the login gave no token; the service says: be patient$"
    with pytest.raises(errors.AuthenticationError, match=expected):
        parse_grant({"token": token}, NOW, "be patient", "the login")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (1, "must be text, not int"),
        (["t"], "must be text, not list"),
        ({}, "must be text, not dict"),
        ("a\r\nX: y", "holds characters that no HTTP header may carry"),
        ("a\0", "holds characters that no HTTP header may carry"),
        ("Ключ", "holds characters that no HTTP header may carry"),
        (" t", "holds characters that no HTTP header may carry"),
        ("t" * (MAX_TOKEN_BYTES + 1), "is longer than 16384 bytes"),
    ],
)
def test_bad_token(token: object, said: str) -> None:
    """A token that no header can carry is refused before it is used."""
    with pytest.raises(errors.ProtocolError) as caught:
        check_token(token)
    assert caught.value.message.endswith(said)


@pytest.mark.parametrize("refresh", [7, "a\nb"])
def test_bad_refresh_token(refresh: object) -> None:
    """A refresh token that cannot be sent does not cost the token that came with it."""
    grant = parse_grant({"token": "t", "refresh_token": refresh}, NOW, "", "the login")
    assert (grant.token.reveal(), grant.refresh_token) == ("t", None)


def test_refresh_token() -> None:
    """A refresh token is kept beside the token, and an empty one is none."""
    grant = parse_grant({"token": "t", "refresh_token": "r"}, NOW, "", "the login")
    assert grant.refresh_token is not None
    assert (grant.token.reveal(), grant.refresh_token.reveal()) == ("t", "r")
    assert grant.issued_at == NOW
    assert (
        parse_grant({"token": "t", "refresh_token": ""}, NOW, "", "the login").refresh_token is None
    )


def test_repr() -> None:
    """A grant does not show its tokens."""
    shown = repr(
        parse_grant({"token": "tell-no-one", "refresh_token": "nor-this"}, NOW, "", "the login")
    )
    assert "tell-no-one" not in shown
    assert "nor-this" not in shown
