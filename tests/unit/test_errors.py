"""The one tree of errors."""

from __future__ import annotations

import copy
import inspect
import re

import pytest

from berlin import errors
from berlin.errors import BerlinError
from berlin.wire.error_words import error_class_for_status

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BerlinError)
]

# What each class says: retryable, fallback, blames_service, exit_code, http_status, code.
SAID = {
    "BerlinError": (False, False, False, 1, 500, "internal_error"),
    "ConfigurationError": (False, False, False, 2, 500, "configuration_error"),
    "MissingCredentialsError": (False, False, False, 2, 500, "missing_credentials"),
    "TokenStoreError": (False, False, False, 2, 503, "token_store"),
    "InvalidRequestError": (False, False, False, 2, 400, "invalid_request"),
    "ModelNotFoundError": (False, False, False, 2, 404, "model_not_found"),
    "KeyRefusedError": (False, False, False, 3, 401, "invalid_api_key"),
    "OverloadedError": (True, False, False, 5, 429, "rate_limit_exceeded"),
    "LimitReachedError": (True, True, False, 5, 429, "limit_reached"),
    "BudgetReachedError": (False, False, False, 5, 429, "insufficient_quota"),
    "UnavailableError": (True, False, False, 5, 503, "unavailable"),
    "AuthenticationError": (False, True, False, 3, 502, "upstream_authentication"),
    "PermissionDeniedError": (False, True, False, 3, 502, "upstream_permission"),
    "TransportError": (False, True, True, 4, 502, "upstream_unreachable"),
    "ConnectError": (False, True, True, 4, 502, "upstream_unreachable"),
    "TLSError": (False, True, True, 4, 502, "upstream_tls"),
    "ProxyError": (False, True, True, 4, 502, "upstream_proxy"),
    "ConnectionLostError": (True, True, True, 4, 502, "upstream_connection_lost"),
    "UpstreamTimeoutError": (False, True, True, 4, 504, "upstream_timeout"),
    "ServiceError": (False, True, True, 5, 502, "upstream_error"),
    "RequestRejectedError": (False, False, False, 5, 400, "upstream_rejected"),
    "ContextLengthError": (False, False, False, 5, 400, "context_length_exceeded"),
    "ContentFilterError": (False, False, False, 5, 400, "content_filter"),
    "RateLimitError": (True, True, False, 5, 429, "rate_limited"),
    "QuotaError": (False, True, False, 5, 429, "insufficient_quota"),
    "ServiceUnavailableError": (True, True, True, 5, 502, "upstream_unavailable"),
    "CircuitOpenError": (False, True, False, 5, 503, "circuit_open"),
    "RedirectError": (False, True, True, 5, 502, "upstream_redirect"),
    "ProtocolError": (False, True, True, 5, 502, "upstream_protocol"),
    "EmptyResponseError": (False, True, True, 5, 502, "upstream_empty"),
    "InvalidAnswerError": (False, True, False, 5, 502, "invalid_answer"),
    "RewrittenError": (False, False, True, 5, 502, "upstream_rewritten"),
    "TruncatedStreamError": (False, True, True, 5, 502, "upstream_truncated"),
}

TREE_LINE = re.compile(
    r"^(?P<indent>(?:[│ ] {3})*)(?:[├└]── )?(?P<name>[A-Z]\w+Error)\b(?P<text>.*)$"
)


def documented_tree() -> tuple[dict[str, str | None], dict[str, int]]:
    """Return each class of the docstring with its parent, and the exit codes that stand there."""
    parents: dict[str, str | None] = {}
    exits: dict[str, int] = {}
    above: list[str] = []
    for line in str(errors.__doc__).splitlines():
        found = TREE_LINE.match(line)
        if not found:
            continue
        depth = len(found["indent"]) // 4 + ("── " in line)
        del above[depth:]
        parents[found["name"]] = above[-1] if above else None
        above.append(found["name"])
        exit_code = re.search(r"\[exit (\d)\]", found["text"])
        if exit_code:
            exits[found["name"]] = int(exit_code[1])
    return parents, exits


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    """Every class stands in the docstring below its parent, and nothing else does."""
    parents, _ = documented_tree()
    assert parents.pop("BerlinError") is None
    assert parents == {
        cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not BerlinError
    }


def test_the_exit_codes_in_the_docstring_are_those_of_the_classes() -> None:
    """The exit code that a branch of the docstring names is that of every class below it."""
    parents, exits = documented_tree()
    assert sorted(exits.values()) == [2, 2, 3, 3, 3, 4, 5, 5, 5]
    for name in parents:
        branch: str | None = name
        while branch is not None and branch not in exits:
            branch = parents[branch]
        expected = exits[branch] if branch else 1
        assert getattr(errors, name).exit_code == expected


def test_what_the_docstring_says_about_other_bases() -> None:
    """All are RuntimeErrors; a wrong request is a ValueError, a passed limit a TimeoutError."""
    assert all(issubclass(cls, RuntimeError) for cls in CLASSES)
    wrong = [errors.InvalidRequestError, errors.ModelNotFoundError]
    assert [cls for cls in CLASSES if issubclass(cls, ValueError)] == wrong
    assert [cls for cls in CLASSES if issubclass(cls, OSError)] == [errors.UpstreamTimeoutError]
    assert issubclass(errors.UpstreamTimeoutError, TimeoutError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_what_each_class_says(cls: type[BerlinError]) -> None:
    """Each class says what may be done about it, and the whole table is known."""
    assert (
        cls.retryable,
        cls.fallback,
        cls.blames_service,
        cls.exit_code,
        cls.http_status,
        cls.code,
    ) == SAID[cls.__name__]


def test_the_table_is_whole() -> None:
    """No class is missing here, and none is here that is gone."""
    assert {cls.__name__ for cls in CLASSES} == set(SAID)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_what_each_error_carries(cls: type[BerlinError]) -> None:
    """Each error carries its message and the five facts, which are `None` unless given."""
    bare = cls("what went wrong")
    assert (bare.message, str(bare)) == ("what went wrong", "what went wrong")
    facts = ("provider", "model", "status", "retry_after", "request_id")
    assert [getattr(bare, name) for name in facts] == [None] * 5
    full = cls("x", provider="p", model="m", status=500, retry_after=1.5, request_id="r")
    assert [getattr(full, name) for name in facts] == ["p", "m", 500, 1.5, "r"]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_to_raise_again(cls: type[BerlinError]) -> None:
    """`again()` is a copy with the same cause and facts, and without the traceback."""
    cause = OSError("below")
    try:
        raise cls("x", provider="p", status=500, retry_after=2.0) from cause
    except BerlinError as error:
        first = error
    twin = first.again()
    assert twin is not first
    assert type(twin) is cls
    assert (twin.message, twin.provider, twin.status, twin.retry_after) == ("x", "p", 500, 2.0)
    assert twin.__cause__ is cause
    assert twin.__traceback__ is None
    assert first.__traceback__ is not None


def test_copies_raised_in_turn_do_not_grow() -> None:
    """One error that is raised for each of many waiters does not collect their tracebacks."""
    first = errors.AuthenticationError("no")
    for _ in range(100):
        with pytest.raises(errors.AuthenticationError) as caught:
            raise first.again() from first
    assert first.__traceback__ is None
    assert caught.value.__cause__ is first


def test_changing_a_copy_leaves_the_first_as_it_was() -> None:
    """A copy may be told more, such as its model, without telling the others."""
    first = errors.RateLimitError("slow down")
    twin = first.again()
    twin.model = "m"
    twin.args = ("other",)
    assert (first.model, first.message) == (None, "slow down")
    assert copy.copy(first).message == "slow down"


@pytest.mark.parametrize(
    ("statuses", "cls"),
    [
        ((401,), errors.AuthenticationError),
        ((403,), errors.PermissionDeniedError),
        ((407,), errors.ProxyError),
        ((408, 504), errors.UpstreamTimeoutError),
        ((429,), errors.RateLimitError),
        ((300, 301, 302, 303, 304, 307, 308, 399), errors.RedirectError),
        ((402,), errors.QuotaError),
        ((400, 404, 405, 409, 413, 418, 422, 451, 499), errors.RequestRejectedError),
        ((500, 501, 502, 503, 505, 529, 599), errors.ServiceUnavailableError),
        ((-1, 0, 100, 101, 199, 200, 204, 206, 600, 999), errors.ProtocolError),
    ],
)
def test_the_class_of_a_status(statuses: tuple[int, ...], cls: type[BerlinError]) -> None:
    """Each status has one class; what is no status of an error is nonsense of the service."""
    assert {error_class_for_status(status) for status in statuses} == {cls}
