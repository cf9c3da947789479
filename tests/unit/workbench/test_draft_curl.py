"""Curl commands, as browsers copy them and as people write them."""

from __future__ import annotations

import base64
import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from berlin.errors import BerlinError, ConfigurationError
from berlin.workbench.draft.sources.captured import Captured
from berlin.workbench.draft.sources.curl import parse_curl
from berlin.workbench.draft.sources.har import read_har

CHROME = r"""curl 'https://chat.example.com/api/ask?x=1' \
  -H 'accept: text/event-stream' \
  -H 'content-type: application/json' \
  -b 'sid=s%3A1; theme=dark' \
  -H 'empty;' \
  --data-raw $'{"prompt":"It\'s \u00e9\\n\u0021 \\"x\\"","n":1}' \
  --compressed ;
curl 'https://other.example.com/'
"""
FIREFOX = (
    "curl 'https://chat.example.com/api/ask' --compressed -X POST -H 'User-Agent: Mozilla/5.0' "
    "-H 'Content-Type: application/x-www-form-urlencoded' --data-raw 'q=a+b&n=1'"
)


def test_as_chrome_copies_it() -> None:
    """Quotes of bash, continued lines, cookies; what follows is another command."""
    request = parse_curl(CHROME)
    assert request.method == "POST"
    assert (request.origin, request.path) == ("https://chat.example.com", "/api/ask")
    assert request.query == {"x": "1"}
    assert request.cookies == {"sid": "s%3A1", "theme": "dark"}
    assert request.document() == ("json", {"prompt": 'It\'s é\n! "x"', "n": 1})
    assert "empty" not in dict(request.headers)


def test_as_firefox_copies_it() -> None:
    """All on one line, the method named."""
    request = parse_curl(FIREFOX)
    assert request.document() == ("form", {"q": "a b", "n": "1"})


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("-d a=1 -d b=2", b"a=1&b=2"),
        ("""-d '{"a":1}'""", b'{"a":1}'),
        ("""--data "{\\"a\\": \\"\\$x\\"}" """, b'{"a": "$x"}'),
        ("--data-urlencode 'q=a b&c'", b"q=a+b%26c"),
        ("--json '{\"a\":' --json '1}'", b'{"a":1}'),
        ("-XPOST -sNd x=1 -o /dev/null --max-time 5", b"x=1"),
        ("--data=x=1 | jq .", b"x=1"),
    ],
)
def test_bodies(command: str, body: bytes) -> None:
    """The ways to give one."""
    assert parse_curl(f"curl https://a.example.com/x {command}").body == body


def test_fields_users_and_parameters() -> None:
    """A multipart body, basic authentication, and data that goes into the URL."""
    request = parse_curl("/usr/bin/curl -u 'ann:p w' -F q=hello -F n=1 a.example.com:81/x")
    assert request.document() == ("multipart", {"q": "hello", "n": "1"})
    assert request.method == "POST"
    assert request.url == "http://a.example.com:81/x"
    assert base64.b64decode(request.header("authorization").split()[1]) == b"ann:p w"
    request = parse_curl("curl -G https://a.example.com/x -d q=1 --proxy http://p:1 --data r=2")
    assert (request.method, request.query) == ("GET", {"q": "1", "r": "2"})


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "not a curl command"),
        ("wget https://a.example.com", "not a curl command"),
        ("fetch('https://a')", "not a curl command"),
        ("curl 'https://a.example.com", "never closed"),
        ('curl "https://a.example.com', "never closed"),
        ("curl $'https://a.example.com", "never closed"),
        ("curl https://a.example.com -d @body.json", "reads the file body.json"),
        ("curl https://a.example.com -H", "ends behind -H"),
        ("curl -X POST", "no whole URL"),
        ("curl ftp://a.example.com", "no whole URL"),
        ("curl http://[", "no whole URL"),
    ],
)
def test_mistakes_are_told(command: str, message: str) -> None:
    """Each with what to do next."""
    with pytest.raises(ConfigurationError, match=message):
        parse_curl(command)


@given(st.text(st.characters(exclude_categories=("Cs",))))
@example('x ^"')
@example("^\n")
def test_single_quotes_keep_everything(body: str) -> None:
    """The text between them comes out as it was."""
    escaped = "'" + body.replace("'", "'\\''") + "'"
    assert parse_curl(f"curl 'https://a.example.com' --data-raw {escaped}").body == body.encode()


@given(st.text(max_size=200))
@example("\\")
@example("$'\\ud800'")
@example("$'\\UFFFFFFFF\\x'")
@example("-")
@example("--data-urlencode =")
def test_no_command_breaks_the_reader(text: str) -> None:
    """Whatever is pasted, only an error of ours comes out."""
    for command in (text, f"curl {text}", f"curl https://a.example.com {text}"):
        with contextlib.suppress(BerlinError):
            parse_curl(command).document()


@given(st.binary(max_size=200))
def test_no_file_breaks_the_reader_of_har(data: bytes) -> None:
    """Whatever the file holds, only an error of ours comes out."""
    with contextlib.suppress(BerlinError):
        read_har(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["log", "entries", "request", "response", "url", "method", "headers", "content"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_no_json_breaks_the_reader_of_har(document: object) -> None:
    """Nor does JSON of another form."""
    with contextlib.suppress(BerlinError):
        read_har(msgspec.json.encode(document))


def test_a_har_file() -> None:
    """Bodies as text, as base64 and as parameters; what is not HTTP is passed over."""
    entries = [
        {
            "request": {
                "method": "POST",
                "url": "https://a.example.com/login",
                "headers": [{"name": ":authority", "value": "a"}, {"name": "X-A", "value": "1"}],
                "postData": {
                    "mimeType": "application/x-www-form-urlencoded",
                    "text": "u=ann&p=x",
                },
            },
            "response": {
                "status": 200,
                "headers": [
                    {"name": "Set-Cookie", "value": "sid=1; Path=/"},
                    {"name": "set-cookie", "value": "csrf=2"},
                ],
                "content": {"text": base64.b64encode(b'{"ok":1}').decode(), "encoding": "base64"},
            },
        },
        {"request": {"method": "GET", "url": "data:text/plain,x"}, "response": {}},
    ]
    (login,) = read_har(msgspec.json.encode({"log": {"version": "1.2", "entries": entries}}))
    assert login.request.document() == ("form", {"u": "ann", "p": "x"})
    assert login.request.header("x-a") == "1"
    assert login.cookies == {"sid": "1", "csrf": "2"}
    assert login.document() == {"ok": 1}


def test_a_multipart_body_of_a_browser() -> None:
    """Browsers write the parts out."""
    body = '--X\r\nContent-Disposition: form-data; name="q"\r\n\r\nhi\r\n--X--\r\n'
    captured = Captured(
        "POST",
        "https://a.example.com/",
        (("Content-Type", "multipart/form-data; boundary=X"),),
        body.encode(),
    )
    assert captured.document() == ("multipart", {"q": "hi"})
