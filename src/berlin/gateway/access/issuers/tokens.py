"""Verifies the tokens of issuers (JWT, RFC 7519; with the advice of RFC 8725)."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from berlin.config.tables.issuers import IssuerConfig
from berlin.errors import ConfigurationError, KeyRefusedError
from berlin.gateway.access.caller import Caller, check_name, checked, model_pattern
from berlin.gateway.access.issuers.jwks import PublicKeys

MAX_TOKEN_CHARS = 32_768
MAX_KNOWN = 10_000
# How long a verified token is not verified again.
KNOWN_FOR_S = 60.0

_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

_log = logging.getLogger("berlin.gateway")


class Issuers:
    """The issuers whose tokens are accepted.

    Args:
        tables: the issuers of the configuration.
        clock: seconds since the epoch.

    Attributes:
        tables: the same.

    Raises:
        ConfigurationError: if PyJWT is not installed, or an issuer's URL cannot be used.
    """

    def __init__(
        self, tables: Mapping[str, IssuerConfig], clock: Callable[[], float] = time.time
    ) -> None:
        try:
            import jwt
        except ImportError as error:
            raise ConfigurationError(
                "[issuers] needs PyJWT: pip install 'berlin-llm[jwt]'"
            ) from error
        self.tables = dict(tables)
        self._jwt = jwt
        self._clock = clock
        self._issuers = {
            table.issuer: (name, table, PublicKeys(table.issuer, table.jwks, table.ca_file))
            for name, table in tables.items()
        }
        for table in tables.values():
            for pattern in table.models:
                model_pattern(pattern)
        self._known: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()

    @staticmethod
    def is_token(text: str) -> bool:
        """Return whether something that a client sent looks like a token of an issuer."""
        return text.startswith("eyJ") and text.count(".") == 2

    async def find(self, token: str) -> Caller:
        """Return the caller that a token names.

        Raises:
            KeyRefusedError: if the token is not valid here.
            UnavailableError: if its issuer has never been reached.
        """
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        caller, until = self._known.get(digest, (None, 0.0))
        if caller is not None and self._clock() < until:
            return caller
        try:
            name, table, claims = await self._verify(token)
            caller = self._caller(name, table, claims)
        except (
            self._jwt.PyJWTError,
            ConfigurationError,
            ValueError,
            OverflowError,  # an expiry of 400 digits
            RecursionError,  # nested too deeply, in some releases of PyJWT
        ) as error:
            # Which check failed is for the operator; a forger learns nothing.
            _log.warning("token.refused reason=%s", str(error)[:200].replace("\n", " "))
            raise KeyRefusedError("the token is not valid here") from None
        expires_at = caller.expires_at or 0.0
        self._known[digest] = (caller, min(expires_at, self._clock() + KNOWN_FOR_S))
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return caller

    async def _verify(self, token: str) -> tuple[str, IssuerConfig, dict[str, Any]]:
        jwt = self._jwt
        if len(token) > MAX_TOKEN_CHARS:
            raise ValueError("the token is too long")
        header = jwt.get_unverified_header(token)
        # Only to choose the keys: `iss` is checked again with the signature.
        stated = jwt.decode(token, options={"verify_signature": False}).get("iss")
        found = self._issuers.get(stated) if isinstance(stated, str) else None
        if found is None:
            raise ValueError(f"unknown issuer {str(stated)[:100]!r}")
        name, table, keys = found
        algorithm = header.get("alg")
        if algorithm not in table.algorithms:
            raise ValueError(f"the algorithm {str(algorithm)[:20]!r} is not accepted")
        kid = header.get("kid")
        for key in await keys.find(kid, _KEY_TYPES[algorithm[:2]]):
            if key.get("alg", algorithm) != algorithm:
                continue
            try:
                claims = jwt.decode(
                    token,
                    # By our algorithm, never by what the token says alone.
                    key=jwt.PyJWK(key, algorithm),
                    algorithms=[algorithm],
                    audience=table.audiences,
                    issuer=table.issuer,
                    leeway=table.leeway_s,
                    options={"require": ["exp", "iss", "aud"]},
                )
            except jwt.InvalidSignatureError:
                if kid is not None:
                    raise
                continue  # without an id, any of the keys may be the right one
            return name, table, claims
        raise ValueError("it is signed with none of the issuer's keys")

    def _caller(self, name: str, table: IssuerConfig, claims: dict[str, Any]) -> Caller:
        user = _claim(claims, table.user)
        if not isinstance(user, str):
            raise ValueError(f"the claim {table.user} names no user")  # noqa: TRY004  # refuses a token
        check_name(user, "a user")
        models = table.models
        if table.models_claim is not None:
            models = _texts(claims, table.models_claim)
            if not models:
                raise ValueError(f"the claim {table.models_claim} allows no model")
        limits = table.limits
        if table.limits_claim is not None:
            limits = (*limits, *_texts(claims, table.limits_claim))
        caller = Caller(
            id=f"issuer:{name}:{user}",
            models=tuple(models),
            # As lenient as the check of the token itself.
            expires_at=float(claims["exp"]) + table.leeway_s,
            user=user,
            scopes=table.scopes,
            limits=tuple(limits),
        )
        return checked(caller, "a token", self._clock())


def _claim(claims: dict[str, Any], name: str) -> Any:
    """Return a claim by its name, which may have dots, or by its path through objects."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _texts(claims: dict[str, Any], claim: str) -> tuple[str, ...]:
    value = _claim(claims, claim)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"the claim {claim} must be a list of texts")
    return tuple(value)
