"""Finds plaintext secrets in a recipe, a configuration or a body."""

from __future__ import annotations

import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from berlin.language.toml import TomlLines
from berlin.types import Secret

# Prefixes that vendors give their keys so that secret scanners can find them.
_MARKS = re.compile(
    r"\b(?:sk-|gsk_|xai-|pplx-|hf_|r8_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|ya29\.)"
    r"[A-Za-z0-9_\-]{12,}|\bAIza[A-Za-z0-9_\-]{30,}|\bAKIA[A-Z0-9]{12,}"
)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]{5,}\.[A-Za-z0-9_\-]*")
_BEARER = re.compile(r"\b(?:[Bb]earer|[Bb]asic|Token) +(?!\{)([A-Za-z0-9._~+/\-]{12,}=*)")
_USERINFO = re.compile(r"(?<=://)[^\s/@:\"'{}]*:[^\s/@\"'{}]+(?=@)")
_PATTERNS = (
    (_JWT, "a JSON Web Token"),
    (_MARKS, "an API key"),
    (_BEARER, "a token"),
    (_USERINFO, "account and password in a URL"),
)

_SECRET_NAMES = frozenset(
    {
        *("password", "passwd", "passwort", "pwd", "passphrase", "secret", "clientsecret"),
        *("token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "csrftoken", "bearer"),
        *("apikey", "xapikey", "accesskey", "privatekey", "authorization", "cookie"),
        *("sessionid", "sessionkey", "sid", "xauthtoken", "credential", "credentials"),
    }
)
# The values in these tables are names of places, words and variables.
_NAMING_TABLES = frozenset(
    {"take", "attach", "rename", "stream", "models", "timeouts", "environment"}
)

_PROSE = frozenset({"description", "source", "name", "path", "url", "token_url", "device_url"})

_PLACEHOLDER = re.compile(r"\{[a-z0-9_]+\}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RUN = re.compile(r"[A-Za-z0-9+=]+")

LEAST_RANDOM_CHARS = 20
LEAST_RUN_CHARS = 12
LEAST_BITS_A_CHAR = 3.0


class FoundSecret(msgspec.Struct, frozen=True):
    """A value that looks like a secret.

    Attributes:
        line: its line, counted from 1.
        key: the key it belongs to, with dots; `""` in a comment.
        what: what it looks like, in words.
    """

    line: int
    key: str
    what: str
    value: Secret


def find_secrets(text: str) -> list[FoundSecret]:
    """Find probable secrets in a TOML text, by line; in broken TOML fewer are found."""
    found: dict[tuple[int, str], FoundSecret] = {}
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        tree = {}
    lines = TomlLines(text)
    for path, whole in _leaves(tree, ()):
        what, value = ("", "") if _NAMING_TABLES & {*path} else _judge(path, whole)
        if what:
            line = lines.find(path)
            key = ".".join(part for part in path if not part.isdecimal())
            found[line, value] = FoundSecret(line, key, what, Secret(value))
    held = [secret.value.reveal() for secret in found.values()]
    for number, written in enumerate(text.splitlines(), 1):
        # Also in comments, where a recipe's author may keep what was copied from a browser.
        for value, what in _marked(written):
            if not any(value in other for other in held):
                found[number, value] = FoundSecret(number, "", what, Secret(value))
    return sorted(found.values(), key=lambda secret: secret.line)


def looks_secret(name: str, value: object) -> bool:
    """Return whether a member of a JSON document is likely a secret."""
    if not isinstance(value, str) or not value:
        return False
    return bool(_named(name, value) or any(_marked(value)) or _is_random(value))


def find_marked(text: str) -> list[str]:
    """Return secrets recognisable by their form alone: JSON Web Tokens, vendors' keys."""
    return [value for value, _ in _marked(text)]


def _judge(path: tuple[str, ...], text: str) -> tuple[str, str]:
    """Return the kind of secret a value looks like, and the part that does; `""` if none."""
    for value, what in _marked(text):
        return what, value
    name = next((part for part in reversed(path) if not part.isdecimal()), "")
    if _named(name, text) or path == ("tokens", "key"):
        return f"a value for {name!r}", text
    if name in _PROSE or not _is_random(text):
        return "", ""
    return "a random text, as keys and tokens are", text


def _named(name: str, value: str) -> bool:
    """Whether the name is that of a secret and the value is neither a placeholder nor a place."""
    is_place = value.startswith("/") or not value or value in ("memory", "file")
    return not is_place and not _PLACEHOLDER.search(value) and names_secret(name)


def names_secret(name: str) -> bool:
    """Return whether a name is that of a secret: `x-amz-security-token`, `passwordConfirm`."""
    if re.sub(r"[^a-z]", "", name.lower()) in _SECRET_NAMES:
        return True
    words = [word.lower() for word in _NAME_WORD.findall(name)]
    while words and words[-1] in _AGAIN:
        words.pop()
    return bool(words) and words[-1] in _SECRET_WORDS


_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_AGAIN = frozenset({"confirm", "confirmation", "repeat", "repeated", "again", "value", "hash"})
_SECRET_WORDS = frozenset(
    {
        *("password", "passwd", "passwort", "pwd", "passphrase", "passcode", "secret", "token"),
        *("otp", "totp", "jwt", "credential", "credentials", "apikey", "cookie", "authorization"),
    }
)


def _marked(line: str) -> Iterator[tuple[str, str]]:
    for pattern, what in _PATTERNS:
        for match in pattern.finditer(line):
            yield match[match.lastindex or 0], what


def _is_random(value: str) -> bool:
    """Whether a text is long and looks as random as a generated one."""
    if len(value) < LEAST_RANDOM_CHARS or any(c.isspace() for c in value) or value[0] in "/{.":
        return False
    if "://" in value or _PLACEHOLDER.search(value) or _UUID.fullmatch(value):
        return False
    return any(
        len(run) >= LEAST_RUN_CHARS
        and any(c.isdigit() for c in run)
        and any(c.isalpha() for c in run)
        and _bits(run) >= LEAST_BITS_A_CHAR
        for run in _RUN.findall(value)
    )


def _bits(text: str) -> float:
    """Return the entropy of a text in bits per character, estimated from its own letters."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)


def _leaves(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    match tree:
        case str():
            yield path, tree
        case dict():
            for key, value in tree.items():
                yield from _leaves(value, (*path, key))
        case list():
            for n, value in enumerate(tree):
                yield from _leaves(value, (*path, str(n)))
