"""A value that never shows itself: passwords, tokens, the credentials in a proxy URL; and the token
with which a caller proves who they are.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec, Self, TypeVar

import msgspec

from berlin.errors import BerlinError


class Secret:
    """Text that prints as `***` everywhere; `reveal()` is the only way to read it.

    It is compared in constant time, and can neither be pickled nor copied into anything that
    can: code that needs the text elsewhere must ask for it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        ours, theirs = (s._text.encode("utf-8", "surrogatepass") for s in (self, other))
        return hmac.compare_digest(ours, theirs)

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is never pickled; make a new provider where you need one")


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


_P = ParamSpec("_P")
_T = TypeVar("_T")


def hides_arguments(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wrap a function that takes secrets: no frame of Berlin's errors holds its arguments.

    Error reporters (Sentry, rich, pytest) record the local variables of every frame. The message
    says what went wrong.
    """

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except BerlinError as error:
            failure = error.without_frames()
            del args, kwargs
        raise failure

    return call
