"""Text with placeholders and the closed set of functions in them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.values.functions import make_values, totp
from berlin.language.values.template import Template
from berlin.language.values.text import parse_text

VALUES = {"key": "k1", "prompt": 'say "hi"', "body": b"\xff\x00", "n": 7}


def rendered(tree: Any) -> Any:
    template = Template(tree, frozenset(VALUES))
    return template.render({**VALUES, **make_values(template.names)})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{base64:{key}:{prompt}}", base64.b64encode(b'k1:say "hi"').decode()),
        ("{base64url:{body}}", "_wA"),
        ("{sha256:{body}}", hashlib.sha256(b"\xff\x00").hexdigest()),
        ("{md5:a{n}}", hashlib.md5(b"a7").hexdigest()),
        ("{hmac_sha256:{key}:{prompt}}", hmac.new(b"k1", b'say "hi"', "sha256").hexdigest()),
        ("{hmac_sha256_base64:k:}", base64.b64encode(hmac.digest(b"k", b"", "sha256")).decode()),
        ('{"q":{json:{prompt}}}', '{"q":"say \\"hi\\""}'),
        ("{url:{prompt}/}", "say%20%22hi%22%2F"),
        ("{{prompt}} {prompt}", '{prompt} say "hi"'),
        ("{ key } {} {a:b} {x", "{ key } {} {a:b} {x"),
        ("{null}", None),
        ("a{null}b", "ab"),
        ("{n}", 7),
    ],
)
def test_a_text_and_what_it_becomes(text: str, expected: object) -> None:
    """Functions take text and placeholders; `{{x}}` is text; all other braces are themselves."""
    assert rendered({"a": text}) == {"a": expected}


def test_a_web_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """`{jwt:key:claims}` is signed with HMAC-SHA256, and times in it may lie ahead."""
    monkeypatch.setattr(time, "time", lambda: 1_000.9)
    head, claims, signature = rendered('{jwt:{key}:{"iss":"me","exp":{unix:60}}}').split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "HS256", "typ": "JWT"}
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (decoded["iss"], decoded["exp"]) == ("me", 1_060)
    signed = hmac.digest(b"k1", f"{head}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == signed


def test_random_values_and_times() -> None:
    """What Berlin makes has the described length and form."""
    assert len(rendered("{random_hex:7}")) == 7
    assert rendered("{random_hex:16}") != rendered("{random_hex:16}")
    assert time.strptime(rendered("{now:%Y-%m-%d}"), "%Y-%m-%d")
    assert rendered("{now}").endswith("Z")
    assert len(rendered("{uuid4}")) == 36
    assert abs(rendered("{unix_ms}") / 1000 - rendered("{unix}")) < 5
    assert rendered("{counter}") < rendered("{counter}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{sha265:x}", "did you mean 'sha256'"),
        ("{hmac_sha256:x}", "needs 2 arguments"),
        ("{sha256:{key}", "no closing brace"),
        ("{random_hex:0}", "from 1 to 256"),
        ("{random_hex:999999999999}", "from 1 to 256"),
        ("{random_hex:{n}}", "takes no placeholder"),
        ("{unix:-1}", "from 0 to"),
        ("{now:%x}", "write the time with"),
        (f"{{now:{'%Y' * 40}}}", "write the time with"),
        ("{sha256:{sha256:{sha256:{sha256:{sha256:{sha256:{sha256:x}}}}}}}", "more than 6 deep"),
        ("{hmac_sha256_raw:a:b}", "use it as an argument"),
        ("{base64:{nobody}}", "unknown placeholder {nobody}"),
        ("{promt}", "did you mean {prompt}?"),
    ],
)
def test_d01_a_wrong_function(text: str, said: str) -> None:
    """A function that there is not, or with wrong arguments, is told when the recipe is loaded."""
    with pytest.raises(ConfigurationError, match=None) as caught:
        rendered({"a": text})
    assert said in caught.value.message


@pytest.mark.parametrize("text", ["{sha256:" * 50_000, "{sha256:a}" * 50_000, "{" * 200_000])
def test_d06_a_text_made_to_take_long(text: str) -> None:
    """However many braces there are, a text is parsed before the limit of a test."""
    with contextlib.suppress(ConfigurationError):
        parse_text(text)


def test_claims_that_are_not_json() -> None:
    """A web token with broken claims is not sent."""
    with pytest.raises(InvalidRequestError, match="not a JSON object"):
        rendered("{jwt:k:{prompt}}")


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")]
)
def test_one_time_codes(at: float, code: str) -> None:
    """The codes are those of RFC 6238, appendix B."""
    assert totp("GEZD GNBV GY3T QOJQ GEZD-GNBV-GY3T-QOJQ", at) == code


def test_a_seed_that_is_not_base32() -> None:
    """A seed with a typing mistake is an error that does not show it."""
    with pytest.raises(InvalidRequestError) as caught:
        totp("not base 32 at all!")
    assert "not base 32" not in caught.value.message
