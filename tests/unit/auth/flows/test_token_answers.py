"""Odd answers of token endpoints: what is understood, what is refused, and what is never quoted."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from berlin.auth.flows.oauth2.device import read_code, wait_for_person
from berlin.auth.flows.oauth2.endpoint import read_grant
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.auth.grant import Grant
from berlin.errors import AuthenticationError, BerlinError, ProtocolError
from berlin.types import HttpResponse

DESCRIBED = OAuth2Map("client_credentials", token_url="/token")
TOKEN = {"access_token": "the-token", "token_type": "Bearer"}
NOW = 1_800_000_000.0
SOON = NOW + 3600


def read(answer: object, status: int = 200) -> Grant:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return read_grant(DESCRIBED, HttpResponse(status, body=body))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def web_token(expires_at: float) -> str:
    parts = ({"alg": "RS256"}, {"exp": expires_at})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join((*encoded, b"signature")).decode()


@pytest.mark.parametrize(
    ("more", "lifetime"),
    [
        ({"expires_in": 3600}, 3600),
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": " 3600 "}, 3600),
        ({"expires_in": 3599.5}, 3599.5),
        ({"expires_in": "3599.0"}, 3599),
        ({"expires_in": "1e3"}, 1000),
        ({"expires_in": 0}, 0),
        ({"expires_in": -5}, 0),
        ({"expires_in": int(SOON)}, 3600),
        ({"expires_in": int(SOON * 1000)}, 3600),
        ({"expires_in": 600, "access_token": web_token(SOON)}, 600),
        ({"access_token": web_token(SOON)}, 3600),
        ({"expires_at": str(int(SOON))}, 3600),
        *(({"expires_in": odd}, None) for odd in (None, "", True, "1h", [3600], {"s": 1}, "inf")),
        ({"ext_expires_in": 7200}, None),
    ],
)
def test_lifetimes(more: dict[str, Any], lifetime: float | None) -> None:
    """`expires_in` in each form that exists; what cannot be understood is an unknown lifetime."""
    grant = read({**TOKEN, **more})
    if lifetime is None:
        assert grant.expires_at is None
    else:
        assert grant.expires_at is not None
        assert grant.expires_at - NOW == pytest.approx(lifetime, abs=1)


@pytest.mark.parametrize(
    "more",
    [
        {"token_type": "bearer"},
        {"token_type": "BEARER"},
        {"token_type": "Bearer "},
        {"token_type": "BearerToken"},
        {"token_type": None},
        {"scope": ["a", "b"]},
        {"error": None},
        {"refresh_token": 5},
        {"refresh_token": ["r"]},
        {"refresh_token": ""},
        {"id_token": "x" * 20_000},
        {f"member{n}": n for n in range(100)},
    ],
    ids=str,
)
def test_side_members_do_not_cost_the_token(more: dict[str, Any]) -> None:
    """Odd side members are unknown, and only what Berlin uses is kept."""
    grant = read({**TOKEN, **more})
    assert grant.token.reveal() == "the-token"
    assert grant.refresh_token is None
    assert grant.values == {}


def test_a_byte_order_mark() -> None:
    """A byte order mark before the JSON is no part of it."""
    assert read(b"\xef\xbb\xbf" + json.dumps(TOKEN).encode()).token.reveal() == "the-token"


@pytest.mark.parametrize("kind", ["mac", "DPoP", "PoP"])
def test_other_types_of_tokens(kind: str) -> None:
    """A token that needs more than a header is not sent as if it did not (RFC 6749, 7.1)."""
    with pytest.raises(ProtocolError, match="only bearer"):
        read({**TOKEN, "token_type": kind})


@pytest.mark.parametrize(
    "answer",
    [
        {"data": TOKEN},
        {"token": "the-token"},
        {"access_token": "", "refresh_token": "the-token"},
        {"access_token": None, "id_token": "the-token"},
        {"access_token": ["the-token"]},
        {"access_token": "the-token\n"},
        {"access_token": "the-token" + "ö"},
        [TOKEN],
        b'{"access_token": "the-token", "expires_in": NaN}',
        b"access_token=the-token&token_type=bearer",
        b'cb({"access_token": "the-token"})',
        json.dumps(TOKEN).encode("utf-16"),
        b"the-token",
        b"<html>the-token</html>",
        b"",
    ],
    ids=str,
)
def test_answers_without_a_token_are_not_quoted(answer: object) -> None:
    """What is no token answer is a typed error; its message quotes nothing that may be a token."""
    with pytest.raises(BerlinError) as caught:
        read(answer)
    assert isinstance(caught.value, AuthenticationError | ProtocolError)
    assert "the-token" not in str(caught.value)


@pytest.mark.parametrize("document", [{"error": "invalid_client"}, {"error": {"message": "no"}}])
def test_an_error_with_status_200(document: object) -> None:
    """An error that some services send with status 200 is a refusal with their words."""
    with pytest.raises(AuthenticationError, match=r"invalid_client|no"):
        read(document)


DEVICE = {
    "device_code": "d",
    "user_code": "AB-CD",
    "verification_uri": "https://id.example/",
    "expires_in": 600,
}


@pytest.mark.parametrize(
    "odd",
    [
        {"interval": "nan"},
        {"interval": "inf"},
        {"interval": -1},
        {"expires_in": "nan"},
        {"expires_in": 1e300},
        {"user_code": "A\nberlin: paste your password"},
        {"user_code": "\x1b]0;x\x07"},
        {"user_code": "A" * 1000},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://[x"},
        {"verification_uri_complete": "file:///etc/passwd"},
    ],
)
def test_odd_device_codes(odd: dict[str, Any]) -> None:
    """Times that are none, and what a person should not be shown, are a clear error."""
    assert read_code(HttpResponse(200, body=json.dumps(DEVICE).encode())).code == "AB-CD"
    with pytest.raises(ProtocolError, match="the device authorization"):
        read_code(HttpResponse(200, body=json.dumps({**DEVICE, **odd}).encode()))


async def test_polling_a_device_code_ends_in_time() -> None:
    """No pause is longer than the code is valid, however long a busy service makes them."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask() -> HttpResponse:
        return HttpResponse(503)

    code = read_code(HttpResponse(200, body=json.dumps({**DEVICE, "interval": 7}).encode()))
    with pytest.raises(AuthenticationError, match="nobody entered the code"):
        await wait_for_person(code, ask, sleep)
    assert sum(slept) == 600
