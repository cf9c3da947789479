"""AWS Signature Version 4 against Amazon's published test suite of signatures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from berlin.auth.sigv4 import AwsKeys, authorization, canonical_query, sign
from berlin.types import HttpRequest, Secret

KEYS = AwsKeys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
AT = "20150830T123600Z"
HOST = {"host": "example.amazonaws.com", "x-amz-date": AT}
TOKEN = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfI"
    "eoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0"
    "wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDry"
    "pNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
FORM = {"content-type": "application/x-www-form-urlencoded"}

SUITE = [
    (
        "get-vanilla",
        "GET",
        "/",
        "",
        {},
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "post-vanilla",
        "POST",
        "/",
        "",
        {},
        b"",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/",
        "Param1=value1&Param2=value2",
        {},
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        "",
        FORM,
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    (
        "get-header-value-trim",
        "GET",
        "/",
        "",
        {"my-header1": " value1 ", "my-header2": ' "a   b   c" '},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    (
        "get-header-key-duplicate",
        "GET",
        "/",
        "",
        {"my-header1": "value2,value2,value1"},
        b"",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    (
        "get-header-value-multiline",
        "GET",
        "/",
        "",
        {"my-header1": "value1,value2,value3"},
        b"",
        "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790",
    ),
    (
        "get-unreserved",
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "",
        {},
        b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "post-sts-header-before",
        "POST",
        "/",
        "",
        {"x-amz-security-token": TOKEN},
        b"",
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [pytest.param(*case[1:], id=case[0]) for case in SUITE],
)
def test_the_published_signatures(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    """Each request of the suite gets the signature that Amazon publishes for it."""
    header = authorization(
        method, path, query, {**HOST, **headers}, body, KEYS, "service", "us-east-1", AT
    )
    assert header.endswith(f"Signature={signature}")


def test_a_request_is_written_out_as_it_was_signed() -> None:
    """Query and path go as they were signed; the secret key is in no header."""
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    request = HttpRequest("GET", "/", query={"Param2": "value2", "Param1": Secret("value1")})
    signed = sign(request, "https://example.amazonaws.com", KEYS, "service", "us-east-1", at)
    assert (signed.path, signed.query) == ("/?Param1=value1&Param2=value2", {})
    header = signed.headers["Authorization"]
    assert isinstance(header, Secret)
    assert header.reveal().endswith(SUITE[2][6])
    assert canonical_query({"a b": "c/d:e"}) == "a%20b=c%2Fd%3Ae"
