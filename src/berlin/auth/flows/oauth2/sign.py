"""Signs the JWT with which a client authenticates itself (RFC 7523).

Berlin only signs and never trusts a JWT that it reads, so `alg: none` and key confusion attacks
cannot happen.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from berlin.auth.flows.oauth2.table import SignMap
from berlin.errors import ConfigurationError
from berlin.types import Secret


def sign(
    described: SignMap, values: dict[str, str], token_url: str, now: float | None = None
) -> Secret:
    """Return a signed JWT.

    Args:
        described: its header and claims.
        values: the credentials: `private_key` in PEM, and those used in the claims.
        now: seconds since 1970.

    Raises:
        ConfigurationError: if PyJWT is not installed, or the key cannot sign.
    """
    try:
        import jwt
    except ImportError as error:
        raise ConfigurationError("signing needs PyJWT: pip install 'berlin-llm[jwt]'") from error
    at = int(time.time() if now is None else now)
    known = {name: values.get(name, "") for name in ("client_id", "account")}
    known["token_url"] = token_url

    def fill(text: str) -> str:
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    issuer = fill(described.issuer)
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": fill(described.subject) or issuer,
        "aud": fill(described.audience),
        "iat": at,
        # Clocks differ by minutes; a token from the future is rejected.
        "nbf": at - 60,
        "exp": at + described.lifetime_s,
        "jti": uuid.uuid4().hex,
        **{name: fill(value) for name, value in described.claims.items()},
    }
    for name in described.omit:
        claims.pop(name, None)
    headers = {**({"kid": described.key_id} if described.key_id else {}), **described.headers}
    try:
        return Secret(
            jwt.encode(claims, values["private_key"], described.algorithm, headers=headers)
        )
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as error:
        # The library's message may contain part of the key.
        raise ConfigurationError(
            f"the private key cannot sign with {described.algorithm} ({type(error).__name__}): "
            "give the PEM file of a private key of that kind, without a passphrase"
        ) from None
