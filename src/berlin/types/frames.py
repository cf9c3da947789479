"""Keeps secrets out of error reports that list the local variables of each frame."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from berlin.errors import BerlinError

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
