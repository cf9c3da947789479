"""Finds what a user typed into a login: account, password, a one-time code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from berlin.language.secrets_scan import looks_secret
from berlin.workbench.draft.follow import UUID
from berlin.workbench.draft.leaves import (
    DROP,
    GUESS,
    Place,
    change_leaves,
    last_name,
    leaves,
)

_PASSWORDS = ("password", "passwd", "pwd", "pass", "secret", "passphrase", "pw", "p")
_ACCOUNTS = (
    *("account", "username", "user", "email", "login", "loginname", "phone", "mobile", "userid"),
    *("name", "identifier", "mail", "u", "uid"),
)
_CODES = ("otp", "totp", "mfacode", "code", "otpcode", "verificationcode", "twofactorcode")
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")


class Typed(msgspec.Struct):
    """The values that were typed.

    Attributes:
        credentials: the values, by the names of `Credentials`.
        values: the values, and the placeholder of each.
        notes: comments for the table `[auth]`.
        dropped: values that were left out because they look like secrets.
    """

    credentials: dict[str, str] = {}
    values: dict[str, str] = {}
    notes: dict[tuple[str, ...], str] = {}
    dropped: set[str] = set()

    @property
    def has_password(self) -> bool:
        """Whether there is a password among the values."""
        return "{password}" in self.values.values()


def find_typed(document: Any) -> Typed:
    """Return what was typed into the login that has this body."""
    members = [
        (place, value)
        for place, value in leaves(document)
        if isinstance(value, str) and value and place
    ]
    values = dict(members)
    typed = Typed()
    password = _best(members, _PASSWORDS)
    account = _best([m for m in members if m[0] != password], _ACCOUNTS)
    codes = [m for m in members if re.fullmatch(r"\d{6,8}", m[1])]
    for name, place in (
        ("code", _best(codes, _CODES)),
        ("account", account),
        ("password", password),
    ):
        if place is None:
            continue
        typed.values[values[place]] = f"{{{name}}}"
        if name != "code":  # it has expired
            typed.credentials[name] = values[place]
    if password is not None and _HASH.fullmatch(values[password]):
        del typed.credentials["password"]  # what was typed is not in the file
        typed.notes["auth", "steps"] = (
            f"{GUESS}: {password[-1]} was a hash; Berlin sends the password as it is"
        )
    return typed


def fill(document: Any, known: Mapping[str, str], typed: Typed) -> Any:
    """Return the body of a login with placeholders, and without what looks secret."""

    def change(place: Place, value: Any) -> Any:
        if isinstance(value, str) and value in known:
            return known[value]
        if isinstance(value, str) and UUID.fullmatch(value):
            return "{uuid4}"
        if value is None or looks_secret(place[-1], value):
            typed.notes["auth", "steps"] = f"{GUESS}: {place[-1]} was left out"
            if isinstance(value, str):
                typed.dropped.add(value)
            return DROP
        return value

    return change_leaves(document, change)


def _best(members: list[tuple[Place, str]], names: tuple[str, ...]) -> Place | None:
    """Return the place whose name comes first among these."""
    known = [(names.index(last_name(p)), p) for p, value in members if last_name(p) in names]
    return min(known)[1] if known else None
