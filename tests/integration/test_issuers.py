"""Tokens of an identity provider in place of keys: which are accepted, by real sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from berlin.config.tables.issuers import IssuerConfig
from berlin.config.tables.limits import LimitsConfig
from berlin.gateway.access.guard import Guard
from berlin.gateway.access.issuers.jwks import ASK_EVERY_S, MAX_KEYS
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.limits.limiter import Limiter
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.providers.scripted import ScriptedProvider
from support.clock import Clock
from support.gateway import ANTHROPIC, OPENAI, At, make_key, serve
from support.playing import running

RSA, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CURVE = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str, **members: str) -> dict[str, Any]:
    """Return a public key as an issuer publishes it."""
    algorithm = jwt.algorithms.ECAlgorithm if key is CURVE else jwt.algorithms.RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, **members}


class Issuer:
    """An identity provider that publishes keys.

    Attributes:
        url: its address.
        keys: what it publishes.
        asked: how often it was asked for them.
        down: whether it answers 503.
        keys_at: where its metadata say that they are; `""` says the truth.
    """

    def __init__(self) -> None:
        self.url = ""
        self.keys = [public(RSA, "r1"), public(CURVE, "e1", use="sig")]
        self.asked = 0
        self.down = False
        self.keys_at = ""

    async def metadata(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"issuer": self.url, "jwks_uri": self.keys_at or f"{self.url}/keys?p=a"}
        )

    async def publish(self, request: web.Request) -> web.Response:
        self.asked += 1
        if request.query != {"p": "a"}:  # as some issuers name the policy
            return web.Response(status=404)
        if self.down:
            return web.Response(status=503)
        return web.json_response({"keys": self.keys})

    def token(
        self,
        key: Any = RSA,
        algorithm: str = "RS256",
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token; a claim of `None` is left out."""
        now = int(time.time())
        stated = {"iss": self.url, "aud": "berlin", "sub": "ann", "exp": now + 600, **claims}
        stated = {name: value for name, value in stated.items() if value is not None}
        kid = {"kid": "e1" if key is CURVE else "r1"} if headers is None else headers
        return jwt.encode(stated, key, algorithm, headers=kid)


@asynccontextmanager
async def guarded(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Issuer, At, Clock]]:
    """Serve a model to the users of an issuer."""
    issuer, clock = Issuer(), Clock()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.metadata)
    app.router.add_get("/keys", issuer.publish)
    async with running(app) as issuer.url:
        table = IssuerConfig(issuer=issuer.url, audience="berlin", **options)
        guard = Guard(KeyReader(tmp_path / "keys.sqlite"))
        guard.use_issuers({"company": table})
        assert guard.issuers is not None
        for _, _, keys in guard.issuers._issuers.values():
            keys._clock = clock
        gateway = Gateway(
            Catalog([Service("s", ScriptedProvider(), ["m1", "m2"])]),
            guard,
            limiter=Limiter(LimitsConfig(users={"bob": ("1 requests/minute",)})),
        )
        async with serve(gateway=gateway) as at:
            yield issuer, at, clock


async def status(at: At, token: str, model: str = "s:m1") -> int:
    """Return the status of an answer to somebody with a token."""
    return (await at.ask(OPENAI, model=model, key=token)).status


async def test_tokens_that_are_good(tmp_path: Path) -> None:
    """A token takes the place of a key in every header; keys work beside it; nothing else does."""
    shown = make_key(tmp_path / "keys.sqlite", "k")
    async with guarded(tmp_path) as (issuer, at, _):
        assert await status(at, issuer.token()) == 200
        assert await status(at, issuer.token(CURVE, "ES256", aud=["other", "berlin"])) == 200
        told = await at.ask(ANTHROPIC, key="", headers={"x-api-key": issuer.token()})
        assert told.status == 200
        assert await status(at, shown) == 200
        assert await status(at, "") == 401
        assert await status(at, issuer.token(headers={})) == 200  # the keys are tried
        assert issuer.asked == 1


def forged(issuer: Issuer, header: dict[str, Any], secret: bytes | None) -> str:
    """Return a token that no library would make: unsigned, or signed with a public key."""
    claims = {"iss": issuer.url, "aud": "berlin", "sub": "ann", "exp": int(time.time()) + 600}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims)
    ]
    signed = b".".join(parts)
    signature = hmac.new(secret, signed, hashlib.sha256).digest() if secret is not None else b""
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def pem() -> bytes:
    """Return the issuer's public key as the file that everybody can have."""
    return RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


FORGERIES: dict[str, Callable[[Issuer], str]] = {
    "alg none": lambda i: forged(i, {"alg": "none", "kid": "r1"}, None),
    "alg None": lambda i: forged(i, {"alg": "None", "kid": "r1"}, None),
    "key confusion": lambda i: forged(i, {"alg": "HS256", "kid": "r1"}, pem()),
    "no signature": lambda i: i.token().rpartition(".")[0] + ".",
    "another key": lambda i: i.token(OTHER),
    "another key without an id": lambda i: i.token(OTHER, headers={}),
    "a key of another type": lambda i: i.token(CURVE, "ES256", headers={"kid": "r1"}),
    "its own key in the header": lambda i: i.token(
        OTHER, headers={"kid": "x", "jwk": public(OTHER, "x")}
    ),
    "an algorithm not accepted": lambda i: i.token(algorithm="RS512"),
    "an unknown critical header": lambda i: i.token(headers={"kid": "r1", "crit": ["x"], "x": 1}),
    "expired": lambda i: i.token(exp=int(time.time()) - 60),
    "no expiry": lambda i: i.token(exp=None),
    "not yet valid": lambda i: i.token(nbf=int(time.time()) + 600),
    "another audience": lambda i: i.token(aud="other"),
    "no audience": lambda i: i.token(aud=None),
    "another issuer": lambda i: i.token(iss="https://evil.example"),
    "no user": lambda i: i.token(sub=None),
    "a user that is no text": lambda i: i.token(email=7, sub=None),
    "a user with a line break": lambda i: i.token(sub="a\nb"),
    "an expiry of 400 digits": lambda i: i.token(exp=10**400),
    "nested too deeply": lambda i: "eyJhbGciOiJSUzI1NiJ9." + "W1tb" * 5_000 + ".xx",
    "garbage": lambda i: "eyJhbGciOiJSUzI1NiJ9.e30.xx",
}


async def test_tokens_that_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each forgery is a 401 with the same words, and nothing of it is in the log."""
    async with guarded(tmp_path) as (issuer, at, _):
        said = set()
        for name, make in FORGERIES.items():
            token = make(issuer)
            told = await at.ask(OPENAI, key=token)
            assert told.status == 401, name
            assert token not in caplog.text, name
            said.add(told.message)
        assert said == {"the token is not valid here"}
        assert await status(at, issuer.token()) == 200


async def test_claims_become_user_models_and_limits(tmp_path: Path) -> None:
    """The user of a token has the limits of that user, those of the table, and those it claims."""
    options = {"user": "email", "models_claim": "models", "limits_claim": "quota"}
    async with guarded(tmp_path, **options, limits=("5 requests/day",)) as (issuer, at, _):
        bob = issuer.token(email="bob", models=["s:m1"])
        assert [await status(at, bob) for _ in range(2)] == [200, 429]
        assert await status(at, bob, "s:m2") == 404
        carl = issuer.token(email="carl", models=["s:*"], quota=["2 requests/hour"])
        assert [await status(at, carl) for _ in range(3)] == [200, 200, 429]
        assert await status(at, issuer.token(email="dora")) == 401  # it claims no model
        wrong = issuer.token(email="eve", models=["s:*"], quota=["much"])
        assert await status(at, wrong) == 401
    async with guarded(tmp_path, scopes=("models",)) as (issuer, at, _):
        assert await status(at, issuer.token()) == 403


async def test_keys_of_the_issuer_change(tmp_path: Path) -> None:
    """A new key is fetched when it is first seen; made-up key ids do not flood the issuer."""
    async with guarded(tmp_path) as (issuer, at, clock):
        assert await status(at, issuer.token()) == 200
        issuer.keys = [public(OTHER, "r2")]
        clock.now += ASK_EVERY_S
        assert await status(at, issuer.token(OTHER, headers={"kid": "r2"})) == 200
        assert issuer.asked == 2
        for n in range(5):
            assert await status(at, issuer.token(OTHER, headers={"kid": f"x{n}"})) == 401
        assert issuer.asked == 2


async def test_an_issuer_with_very_many_keys(tmp_path: Path) -> None:
    """Only the first are read: a token that names none of them is tried with each."""
    async with guarded(tmp_path) as (issuer, at, _):
        issuer.keys = [public(OTHER, "other")] * (MAX_KEYS - 1) + issuer.keys
        assert await status(at, issuer.token()) == 200
        assert await status(at, issuer.token(CURVE, "ES256")) == 401


@pytest.mark.parametrize("url", ["https://[x", "https://℀.com/keys", "file:///etc/passwd"])
async def test_metadata_with_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    """The answer is the one for an issuer that cannot be reached, not an error of the gateway."""
    async with guarded(tmp_path) as (issuer, at, _):
        issuer.keys_at = url
        assert await status(at, issuer.token()) == 503


async def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    """Without keys it is a 503, never a 401; with keys that are known everything goes on."""
    async with guarded(tmp_path) as (issuer, at, clock):
        issuer.down = True
        assert await status(at, issuer.token()) == 503
        issuer.down = False
        assert await status(at, issuer.token()) == 503  # it is not asked again at once
        clock.now += ASK_EVERY_S
        assert await status(at, issuer.token()) == 200
        issuer.down = True
        clock.now += 100_000
        assert await status(at, issuer.token(sub="bob")) == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [({"audience": ""}, "audience"), ({"audience": "b", "algorithms": ()}, "algorithms")],
)
def test_tables_that_cannot_be(options: dict[str, Any], said: str) -> None:
    """An issuer without an audience or a signature is a mistake."""
    with pytest.raises(ValueError, match=said):
        IssuerConfig(issuer="https://x.example", **options)
