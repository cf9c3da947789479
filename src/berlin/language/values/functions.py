"""The closed set of functions that a placeholder may call: `{sha256:{body}}`, `{now:%Y-%m-%d}`.

Each takes bytes and gives text, or bytes for another function. None reads a file, the environment
or the network, and none can produce more than a small multiple of its input.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import itertools
import re
import secrets
import struct
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.wire.json import DECODE_ERRORS

MAX_RANDOM_CHARS = 256
MAX_TIME_FORMAT_CHARS = 64
MAX_AHEAD_S = 10**9

Function = Callable[[list[bytes]], str | bytes]

_COUNTER = itertools.count(1)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _uuid4() -> str:
    """Return a random UUID (RFC 9562, 5.4), without an object that only holds its parts."""
    digits = secrets.token_bytes(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    parts = (digits[:8], digits[8:12], f"4{digits[13:16]}", variant + digits[17:20], digits[20:])
    return "-".join(parts)


MADE: dict[str, Callable[[], object]] = {
    "now": _now,
    "unix": lambda: int(time.time()),
    "unix_ms": lambda: int(time.time() * 1000),
    "uuid4": _uuid4,
    "counter": lambda: next(_COUNTER),
    "null": lambda: None,
}
"""Placeholders without an argument whose value Berlin generates, once per chat."""


def make_values(names: Iterable[str]) -> dict[str, object]:
    """Return new values for the names that Berlin generates."""
    return {name: MADE[name]() for name in names if name in MADE}


def _digest(name: str) -> Function:
    return lambda given: hashlib.new(name, given[0], usedforsecurity=False).hexdigest()


def _hmac(name: str, write: Callable[[bytes], str | bytes] = bytes.hex) -> Function:
    return lambda given: write(hmac.digest(given[0], given[1], name))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_JWT_HEAD = _base64url(b'{"alg":"HS256","typ":"JWT"}')


def _jwt(given: list[bytes]) -> str:
    """Return a JSON Web Token signed with HMAC-SHA256 (RFC 7515, A.1)."""
    key, claims = given
    try:
        msgspec.json.decode(claims, type=dict)
    except DECODE_ERRORS:
        raise InvalidRequestError("the claims of {jwt:…} are not a JSON object") from None
    signed = f"{_JWT_HEAD}.{_base64url(claims)}"
    return f"{signed}.{_base64url(hmac.digest(key, signed.encode(), 'sha256'))}"


def totp(seed: str, at: float | None = None) -> str:
    """Return the one-time code of a seed (RFC 6238): six digits, new every 30 seconds.

    Raises:
        InvalidRequestError: if the seed is not base32.
    """
    compact = re.sub(r"[\s-]", "", seed).upper()
    try:
        key = base64.b32decode(compact + "=" * (-len(compact) % 8))
    except ValueError:
        raise InvalidRequestError("the seed of the one-time codes is not base32") from None
    step = struct.pack(">Q", int((time.time() if at is None else at) // 30))
    digest = hmac.digest(key, step, "sha1")
    offset = digest[-1] & 15
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06d}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


_WITH_ARGUMENTS: dict[str, tuple[int, Function]] = {
    "json": (1, lambda given: msgspec.json.encode(_text(given[0])).decode()),
    "xml": (1, lambda given: html.escape(_text(given[0]))),
    "url": (1, lambda given: quote(given[0], safe="")),
    "segments": (1, lambda given: quote(given[0], safe="/@:")),
    "base64": (1, lambda given: _base64(given[0])),
    "base64url": (1, lambda given: _base64url(given[0])),
    "md5": (1, _digest("md5")),
    "sha1": (1, _digest("sha1")),
    "sha256": (1, _digest("sha256")),
    "sha512": (1, _digest("sha512")),
    "hmac_sha1": (2, _hmac("sha1")),
    "hmac_sha256": (2, _hmac("sha256")),
    "hmac_sha512": (2, _hmac("sha512")),
    "hmac_sha1_base64": (2, _hmac("sha1", _base64)),
    "hmac_sha256_base64": (2, _hmac("sha256", _base64)),
    "hmac_sha256_raw": (2, _hmac("sha256", bytes)),
    "jwt": (2, _jwt),
}


def _random_hex(argument: str) -> Callable[[], str]:
    chars = _number(argument, "random_hex", MAX_RANDOM_CHARS)
    return lambda: secrets.token_hex((chars + 1) // 2)[:chars]


def _unix(argument: str) -> Callable[[], str]:
    ahead = _number(argument, "unix", MAX_AHEAD_S, least=0)
    return lambda: str(int(time.time()) + ahead)


def _formatted(argument: str) -> Callable[[], str]:
    # The platform's own directives differ between machines.
    if len(argument) > MAX_TIME_FORMAT_CHARS or re.search(r"%(?![YmdHMSjyabABp%])", argument):
        raise ConfigurationError(
            f"{{now:{argument[:40]}}}: write the time with %Y %m %d %H %M %S %j %y %a %b %A %B %p"
        )
    return lambda: datetime.now(UTC).strftime(argument)


def _number(argument: str, name: str, most: int, least: int = 1) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", argument) or not least <= int(argument) <= most:
        raise ConfigurationError(
            f"{{{name}:{argument[:40]}}} needs a whole number from {least} to {most}"
        )
    return int(argument)


# Their argument is written out in the recipe, and checked when it is loaded.
_WITH_LITERAL: dict[str, Callable[[str], Callable[[], str]]] = {
    "random_hex": _random_hex,
    "unix": _unix,
    "now": _formatted,
}

NAMES = frozenset({*_WITH_ARGUMENTS, *_WITH_LITERAL})
"""The names of all functions."""

RAW = frozenset({"hmac_sha256_raw"})
"""The functions whose result is bytes, which only another function can take."""


def arity(name: str) -> int:
    """Return how many arguments a function takes."""
    return _WITH_ARGUMENTS[name][0] if name in _WITH_ARGUMENTS else 1


def with_literal(name: str, argument: str | None) -> Callable[[], str] | None:
    """Return a function whose argument is part of the recipe, checked; `None` for another one.

    Raises:
        ConfigurationError: if the argument is wrong, or contains a placeholder (`None`).
    """
    build = _WITH_LITERAL.get(name)
    if build is None:
        return None
    if argument is None:
        raise ConfigurationError(f"{{{name}:…}} takes no placeholder as its argument")
    return build(argument)


def call(name: str, arguments: list[bytes]) -> str | bytes:
    """Return the result of calling a function. Raises InvalidRequestError."""
    return _WITH_ARGUMENTS[name][1](arguments)
