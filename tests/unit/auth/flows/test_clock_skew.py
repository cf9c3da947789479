"""Clocks that differ by minutes: what is signed, and how long a token is used."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import jwt
import pytest

from berlin.auth.credentials import Credentials
from berlin.auth.flows.oauth2.flow import OAuth2Flow
from berlin.auth.flows.oauth2.table import OAuth2Map, SignMap
from berlin.auth.grant import parse_grant
from berlin.errors import AuthenticationError
from berlin.types import HttpRequest, HttpResponse
from support.identity_service import make_key

KEY, PUBLIC = make_key("ec")
WHO = Credentials.checked("test", client_id="c", private_key=KEY)


class Server:
    """A token endpoint whose clock is ahead of ours; it is strict about times."""

    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s
        self.asked = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked += 1
        now = time.time() + self.ahead_s
        form = dict(pair.split("=") for pair in request.body.decode().split("&"))
        proof = form.get("client_assertion") or form["assertion"]
        claims = jwt.decode(
            proof, PUBLIC, algorithms=["ES256"], options={"verify_exp": False, "verify_iat": False,
                                                          "verify_nbf": False, "verify_aud": False}
        )  # fmt: skip
        good = claims["nbf"] <= now + 1 and claims["iat"] <= now + 1 and now < claims["exp"]
        answer = {"access_token": "t"} if good else {"error": "invalid_client"}
        headers = {"date": formatdate(now, usegmt=True)}
        return HttpResponse(200 if good else 401, headers=headers, body=json.dumps(answer).encode())


@pytest.mark.parametrize("ahead_s", [-3600, -310, -45, 0, 45, 310, 3600])
@pytest.mark.parametrize("grant", ["client_credentials", "jwt_bearer"])
async def test_signed_with_the_clock_of_the_server(grant: str, ahead_s: float) -> None:
    """A JWT that is refused is signed once more with the server's time, which is remembered."""
    proof = "private_key_jwt" if grant == "client_credentials" else "none"
    described = OAuth2Map(
        grant,
        token_url="/token",
        client_auth=proof,
        sign=SignMap(algorithm="ES256"),
    )
    flow, server = OAuth2Flow(described), Server(ahead_s)
    for _ in range(2):
        assert (await flow.obtain(WHO, server.send)).token.reveal() == "t"
    assert server.asked == (3 if ahead_s < 0 or ahead_s > 300 else 2)


async def test_a_refusal_at_the_right_time_is_one() -> None:
    """If the clocks agree, a refused client is refused: nothing is sent again."""
    described = OAuth2Map("client_credentials", token_url="/token", client_auth="private_key_jwt",
                          sign=SignMap(algorithm="ES256"))  # fmt: skip
    asked = []

    async def send(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        return HttpResponse(401, headers={"date": formatdate(usegmt=True)}, body=b"{}")

    with pytest.raises(AuthenticationError):
        await OAuth2Flow(described).obtain(WHO, send)
    assert len(asked) == 1


@pytest.mark.parametrize("ahead_s", [-295, 0, 295])
def test_the_lifetime_of_a_new_web_token(ahead_s: float) -> None:
    """A token issued just now by another clock is used for as long as it was made for."""
    now = 1_800_000_000.0
    times = {"iat": now + ahead_s, "exp": now + ahead_s + 300}
    token = jwt.encode(times, "k" * 32, "HS256")
    assert parse_grant({"token": token}, now, "").expires_at == now + 300


def test_an_older_web_token() -> None:
    """One that was issued long ago, from a cache for example, expires when it says."""
    now = 1_800_000_000.0
    token = jwt.encode({"iat": now - 3000, "exp": now + 600}, "k" * 32, "HS256")
    assert parse_grant({"token": token}, now, "").expires_at == now + 600
