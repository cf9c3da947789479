"""On whose behalf a request is sent: the token with which its caller proved who they are."""

from __future__ import annotations

import hashlib
from typing import Self

import msgspec

from berlin.types.secret import Secret


class Identity(msgspec.Struct, frozen=True):
    """A caller, known by their token.

    Attributes:
        id: a text that differs for each token and does not reveal it.
        token: the token.
    """

    id: str
    token: Secret

    @classmethod
    def of(cls, token: str) -> Self:
        """Return the identity that a token proves.

        Its claims are not read: nobody has verified them, so a claim could name another person.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(digest[:32], Secret(token))
