"""A grant: a token with its expiry and the other values that came with it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from berlin.errors import AuthenticationError, ProtocolError
from berlin.types import Secret
from berlin.wire.json import decoded_or_none
from berlin.wire.pointer import MISSING

MAX_TOKEN_BYTES = 16 * 1024

MAX_VALUES = 64

UNTAKEN = frozenset({"token", "refresh_token", "expires_in", "expires_in_ms", "expires_at"})
"""The names in a login's response that have a special meaning."""

# By how much clocks may differ.
CLOCK_SKEW_S = 300.0
# Longer than any lifetime: some services write the time of the expiry there.
_SURELY_A_DATE = 10**9
# Later than any expiry in seconds, earlier than any in milliseconds.
_SURELY_MILLISECONDS = 10**11


class Grant(msgspec.Struct, frozen=True):
    """The result of a login.

    Attributes:
        token: the token that requests carry.
        issued_at: when it was issued, in seconds since 1970.
        expires_at: when it expires, in seconds since 1970; `None` if that is not known.
        refresh_token: the token that renews it without a full login.
        values: the other values the login took, by name, for headers, bodies and URLs.
    """

    token: Secret
    issued_at: float
    expires_at: float | None = None
    refresh_token: Secret | None = None
    values: Mapping[str, str] = {}


def parse_grant(
    values: dict[str, Any], now: float, said: str, where: str = "the login", place: str = ""
) -> Grant:
    """Return the grant from the values in a response.

    Args:
        values: `token`, and maybe `refresh_token`, `expires_in` (seconds), `expires_in_ms`, or
            `expires_at` (seconds or milliseconds since 1970, an ISO 8601 time or an HTTP
            date). A value that is not a time counts as unknown.
        now: the time, in seconds since 1970.
        said: the service's message, for the error.
        where: the request, for the error.
        place: where in the answer the token should be, for the error.

    Raises:
        AuthenticationError: if there is no token.
        ProtocolError: if the token cannot be sent, or another value is too long.
    """
    token = values.get("token", MISSING)
    if token is MISSING or token is None or token == "":
        at = f" at {place}" if place else ""
        raise AuthenticationError(f"{where} gave no token{at}; the service says: {said}")
    secret = check_token(token, f"the token at {place}" if place else "the token")
    expires_at = _expiry(values, now)
    if expires_at is None:
        expires_at = read_jwt_expiry(secret.reveal(), now)
    try:
        refresh = check_token(values.get("refresh_token"))
    except ProtocolError:
        refresh = None  # one that cannot be used does not cost the token
    return Grant(secret, now, expires_at, refresh, _others(values))


def _others(values: Mapping[str, Any]) -> dict[str, str]:
    others = {
        name: str(value)
        for name, value in values.items()
        if name not in UNTAKEN
        and isinstance(value, str | int | float)
        and not isinstance(value, bool)
    }
    if len(others) > MAX_VALUES or any(len(value) > MAX_TOKEN_BYTES for value in others.values()):
        raise ProtocolError(f"the login gave a value that is longer than {MAX_TOKEN_BYTES} bytes")
    return others


def check_token(token: object, what: str = "the token") -> Secret:
    """Check that a token can be sent in a header, and return it. Raises ProtocolError."""
    if not isinstance(token, str) or not token:
        raise ProtocolError(f"{what} must be text, not {type(token).__name__}")
    if len(token) > MAX_TOKEN_BYTES:
        raise ProtocolError(f"{what} is longer than {MAX_TOKEN_BYTES} bytes")
    if not all(" " <= c <= "~" for c in token) or token != token.strip():
        raise ProtocolError(f"{what} holds characters that no HTTP header may carry")
    return Secret(token)


def read_jwt_expiry(token: str, now: float) -> float | None:
    """Return the expiry of a new JSON Web Token (RFC 7519), unverified; `None` if it is not a JWT.

    It is only used to decide when to renew; the service decides whether the token is valid.

    Args:
        now: our time. If the token was issued about now, its lifetime counts from here, because
            the two clocks may differ by minutes.
    """
    claims = jwt_claims(token)
    expiry, issued = _number(claims.get("exp")), _number(claims.get("iat"))
    if expiry is None or issued is None or abs(now - issued) > CLOCK_SKEW_S or issued > expiry:
        return expiry
    return now + expiry - issued


def jwt_claims(token: str) -> dict[str, Any]:
    """Return the claims of a JSON Web Token, unverified; none if it is not one."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except ValueError:
        return {}
    claims = decoded_or_none(payload)
    return claims if isinstance(claims, dict) else {}


def _expiry(values: dict[str, Any], now: float) -> float | None:
    seconds = _number(values.get("expires_in"))
    if seconds is not None and seconds < _SURELY_A_DATE:
        return now + max(seconds, 0.0)
    millis = _number(values.get("expires_in_ms"))
    if millis is not None:
        return now + max(millis, 0.0) / 1000
    at = values.get("expires_at") if seconds is None else seconds
    number = _number(at)
    if number is not None:
        return number / 1000 if number > _SURELY_MILLISECONDS else number
    return _moment(at) if isinstance(at, str) else None


def _moment(text: str) -> float | None:
    """Return the time in a text, in ISO 8601 or as an HTTP date; `None` for anything else.

    An unknown format does not fail the login: without an expiry, a token is used until rejected.
    """
    text = text.strip().removesuffix(" UTC").removesuffix(" GMT")
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _number(value: object) -> float | None:
    """Return a finite number, even if it is written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
