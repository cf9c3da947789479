"""How a request carries its token."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from berlin.auth.attach import BEARER, Attachment
from berlin.errors import ProtocolError
from berlin.types import HttpRequest, Secret

REQUEST = HttpRequest("POST", "/chat", {"Accept": "*/*"}, {"v": "1"})
TOKEN = Secret("tell-no-one")


def clear(values: Mapping[str, str | Secret]) -> dict[str, str]:
    """Return headers or parameters as they go over the wire."""
    return {n: v.reveal() if isinstance(v, Secret) else v for n, v in values.items()}


@pytest.mark.parametrize(
    ("attachment", "headers", "query"),
    [
        (BEARER, {"Authorization": "Bearer tell-no-one"}, {}),
        (Attachment(header="token"), {"token": "tell-no-one"}, {}),
        (Attachment(query="key"), {}, {"key": "tell-no-one"}),
        (Attachment(query="key", prefix="k-"), {}, {"key": "k-tell-no-one"}),
        (Attachment(cookie="sid"), {"Cookie": "sid=tell-no-one"}, {}),
        (Attachment(cookie="sid", prefix="s:"), {"Cookie": "sid=s:tell-no-one"}, {}),
        (Attachment(cookie="*"), {"Cookie": "tell-no-one"}, {}),
    ],
)
def test_apply(attachment: Attachment, headers: dict[str, str], query: dict[str, str]) -> None:
    """A token goes into a header, the query or a cookie; what else the request has stays."""
    request = attachment.apply(REQUEST, TOKEN)
    assert clear(request.headers) == {"Accept": "*/*", **headers}
    assert clear(request.query) == {"v": "1", **query}
    assert clear(REQUEST.headers) == {"Accept": "*/*"}


@pytest.mark.parametrize("given", ["Bearer abc", "bearer abc", "abc"])
def test_a_scheme_is_not_repeated(given: str) -> None:
    """A login or a person may give the token with its scheme."""
    sent = clear(BEARER.apply(REQUEST, Secret(given)).headers)["Authorization"]
    assert sent.lower() == "bearer abc"


@pytest.mark.parametrize(
    "attachment", [BEARER, Attachment(query="key"), Attachment(cookie="c"), Attachment(cookie="*")]
)
def test_secrecy(attachment: Attachment) -> None:
    """A request does not show the token that it carries."""
    request = attachment.apply(REQUEST, TOKEN)
    shown = f"{request!r} {request} {request.headers} {request.query}"
    assert "tell-no-one" not in shown


@pytest.mark.parametrize(
    "names", [{}, {"header": "a", "query": "b"}, {"header": "a", "cookie": "b"}, {"prefix": "x"}]
)
def test_exactly_one_place(names: dict[str, str]) -> None:
    """A token has exactly one place."""
    with pytest.raises(ValueError, match="exactly one of header, query and cookie"):
        Attachment(**names)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"header": "a b"}, "cannot be sent"),
        ({"header": "a\r\nb"}, "cannot be sent"),
        ({"header": "ключ"}, "cannot be sent"),
        ({"query": "a\0"}, "cannot be sent"),
        ({"header": "a", "prefix": "b\r\nc: d"}, "no header may carry"),
        ({"header": "a", "prefix": "д"}, "no header may carry"),
    ],
)
def test_what_cannot_be_sent(names: dict[str, str], said: str) -> None:
    """A name or a prefix that would break a header is refused when the recipe is read."""
    with pytest.raises(ValueError, match=said):
        Attachment(**names)


@pytest.mark.parametrize("header", ["a:b", "a(b)", "a,b", 'a"b'])
def test_header_that_is_no_token(header: str) -> None:
    """A header's name is a token of RFC 9110, 5.6.2: a separator is refused with the recipe."""
    with pytest.raises(ValueError, match="cannot be sent"):
        Attachment(header=header)


@pytest.mark.parametrize("cookie", ["a=b", "a;b", "a,b"])
def test_cookie_that_is_no_name(cookie: str) -> None:
    """A cookie's name holds no separator: what follows would be another cookie."""
    with pytest.raises(ValueError, match="cannot be sent"):
        Attachment(cookie=cookie)


@pytest.mark.parametrize(
    "attach",
    [
        Attachment(header="Authorization", value='Session "{token}", v="1"'),
        Attachment(cookie="sid", value='"{token}"'),
    ],
)
def test_a_token_that_would_end_quotes(attach: Attachment) -> None:
    """A token cannot add a parameter to a header that quotes it; others are whole."""
    with pytest.raises(ProtocolError, match="would end its part of the header") as caught:
        attach.apply(REQUEST, Secret('a", admin="1'))
    assert "admin" not in str(caught.value)
    assert '"a;b=c"' in "".join(clear(attach.apply(REQUEST, Secret("a;b=c")).headers).values())
