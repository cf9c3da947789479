"""An authorization server that is strict: PKCE, single-use codes, signed clients, exchange.

It follows RFC 6749, 7636, 8252, 7523, 8693, 8414 and 9207, and records every violation.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import aiohttp
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from berlin.auth.contract import DeviceCode
from support.oauth_service import OAuthService, Reply, Seen, reply

JWT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def make_key(kind: str = "rsa") -> tuple[str, Any]:
    """Return a private key as PEM, and its public key."""
    key: Any = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode(), key.public_key()


class IdentityService(OAuthService):
    """See the module.

    Attributes:
        public_keys: keys by issuer, for `private_key_jwt` and `jwt_bearer`.
        projected: assertions that somebody else signed and that are good here.
        claims: the claims of each assertion that was accepted.
        tamper: changes the members of the redirect.
        id_token: changes the claims of the identity token.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(rotate=True, **options)
        self.clients["public"] = ""
        self.public_keys: dict[str, Any] = {}
        self.projected: set[str] = set()
        self.claims: list[dict[str, Any]] = []
        self.tamper: Callable[[dict[str, str]], dict[str, str]] = dict
        self.id_token: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        self._used: set[str] = set()
        self.answers["/authorize"] = [self._authorize]
        self.answers["/.well-known/openid-configuration"] = [self._metadata]

    def _metadata(self, seen: Seen) -> Reply:
        return reply(
            {
                "issuer": self.url,
                "token_endpoint": f"{self.url}/token",
                "authorization_endpoint": f"{self.url}/authorize",
                "device_authorization_endpoint": f"{self.url}/device",
                "authorization_response_iss_parameter_supported": True,
            }
        )

    def _authorize(self, seen: Seen) -> Reply:
        asked = dict(seen.query)
        back = asked["redirect_uri"]
        if not back.startswith("http://127.0.0.1:"):
            self.violations.append("the redirect is not on the loopback interface (RFC 8252, 7.3)")
        for name in ("state", "code_challenge"):
            if len(asked.get(name, "")) < 22:
                self.violations.append(f"{name} has less than 128 bits")
        if asked.get("code_challenge_method") != "S256":
            self.violations.append("PKCE without S256")
        code = f"code-{len(self._codes) + 1}"
        self._codes[code] = asked
        answer = self.tamper({"code": code, "state": asked["state"], "iss": self.url})
        return reply(None, 302, ("Location", f"{back}?{urlencode(answer)}"))

    def _token(self, seen: Seen) -> Reply:
        form = seen.form
        match form.get("grant_type"):
            case "authorization_code":
                self.kinds.append("authorization_code")
                return self._redeem(form)
            case grant if grant == JWT_BEARER:
                self.kinds.append("jwt_bearer")
                return self._accept(form["assertion"])
            case grant if grant == EXCHANGE:
                self.kinds.append("token_exchange")
                good = form["subject_token"] in self.projected and form["subject_token_type"]
                return self.issue() if good else reply({"error": "invalid_grant"}, 400)
        return super()._token(seen)

    def _redeem(self, form: dict[str, str]) -> Reply:
        asked = self._codes.pop(form["code"], None)
        if asked is None:
            return reply({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return reply({"error": "invalid_grant"}, 400)
        answer = self.issue()
        if "nonce" not in asked:
            return answer
        claims = {"iss": self.url, "aud": asked["client_id"], "nonce": asked["nonce"]}
        token = jwt.encode({**claims, **self.id_token}, "k" * 32, "HS256")
        return reply({**json.loads(answer.body), "id_token": token})

    def _knows_client(self, seen: Seen) -> bool:
        form = seen.form
        if form.get("client_assertion_type") != JWT_ASSERTION:
            return super()._knows_client(seen)
        proof = form["client_assertion"]
        return proof in self.projected or self._accept(proof).status == 200

    def _accept(self, assertion: str) -> Reply:
        """Check a signed JWT: key by issuer, audience, times, and that it is used once."""
        refused = reply({"error": "invalid_grant"}, 400)
        if assertion in self.projected:
            return self.issue()
        unread = jwt.decode(assertion, options={"verify_signature": False})
        key = self.public_keys.get(unread["iss"])
        if key is None or unread["jti"] in self._used:
            return refused
        try:
            claims = jwt.decode(
                assertion,
                key,
                algorithms=["RS256", "PS256", "ES256"],
                audience=f"{self.url}/token",
                options={"require": ["exp", "iat", "jti", "sub"]},
            )
        except jwt.PyJWTError as error:
            self.violations.append(str(error))
            return refused
        self._used.add(claims["jti"])
        self.claims.append({**claims, "kid": jwt.get_unverified_header(assertion).get("kid")})
        return self.issue()


class Browser:
    """A person with a browser on this machine; see `Person`.

    Args:
        pastes: whether the browser runs elsewhere, and its last address is pasted.

    Attributes:
        opened: the queries of the pages that were opened.
    """

    def __init__(self, *, pastes: bool = False) -> None:
        self.opened: list[dict[str, list[str]]] = []
        self._pastes = pastes

    def show_code(self, code: DeviceCode) -> None:
        """Type nothing."""

    async def open_page(self, url: str, back: str) -> str | None:
        """Log in, and come back."""
        self.opened.append(parse_qs(url.partition("?")[2]))
        async with aiohttp.ClientSession() as session:
            async with session.get(url, allow_redirects=False) as answer:
                goes_to = answer.headers["Location"]
            assert goes_to.startswith(back)
            if self._pastes:
                return goes_to
            async with session.get(goes_to) as answer:
                await answer.read()
        return None
