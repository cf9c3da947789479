"""A value that a client writes stays one value, wherever a recipe puts it."""

from __future__ import annotations

from typing import Any

import pytest

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.step import CompiledStep, Step
from berlin.language.tables.parts import file_values
from berlin.language.values.form import File, encode_multipart
from berlin.types import FilePart

SEPARATED = 'list, "of" \\ things; and = more'


def header_of(name: str, text: str, value: str, found: frozenset[str] = frozenset()) -> str:
    """Return a header with a value in it, as it is sent."""
    step = CompiledStep(Step("/", headers={name: text}), {"prompt", "token"} | found, found=found)
    sent = step.request({"prompt": value, "token": value, **dict.fromkeys(found, value)}, {})
    header = sent.headers[name]
    return header if isinstance(header, str) else header.reveal()


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\ud800b"])
def test_no_header_that_is_sent_differently(value: str) -> None:
    """A value that a header cannot carry is refused, not sent without a part of it."""
    with pytest.raises(InvalidRequestError, match="header X-A would contain"):
        header_of("X-A", "{prompt}", value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding"])
def test_no_framing(name: str) -> None:
    """Where a body ends is not said by a recipe."""
    with pytest.raises(ConfigurationError, match="belongs to HTTP itself"):
        header_of(name, "1", "")


@pytest.mark.parametrize("value", ["a; admin=1", "a, b", 'a"b', "a\\b"])
@pytest.mark.parametrize("text", ["sid={prompt}", "{prompt}", "a=1; b={prompt}"])
def test_no_second_cookie(text: str, value: str) -> None:
    """A client's value is one cookie, or a part of one."""
    with pytest.raises(InvalidRequestError, match="a value in the header Cookie contains"):
        header_of("Cookie", text, value)
    assert header_of("cookie", text, "a b=c") == text.replace("{prompt}", "a b=c")
    encoded = header_of("Cookie", text.replace("{prompt}", "{url:{prompt}}"), value)
    assert encoded.count(";") == text.count(";")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('Digest username="{prompt}"', '"\\'),
        ('OAuth key="{prompt}", realm="x"', ',"\\'),
        ("user={prompt}; model=m", ";"),
        ("a, {prompt}", ","),
        ('form-data; filename="{prompt}"', ';"\\'),
        ("{prompt}", ""),
        ("Bearer {prompt}", ""),
        ("{json:{prompt}}", ""),
    ],
)
def test_no_second_parameter(text: str, refused: str) -> None:
    """What the header itself uses to separate its parts is refused in a value, and nothing else."""
    for mark in ';,"\\= ':
        if mark in refused:
            with pytest.raises(InvalidRequestError, match="which would end"):
                header_of("X-A", text, f"a{mark}b")
        else:
            assert "a" in header_of("X-A", text, f"a{mark}b")


@pytest.mark.parametrize("name", ["session", "token"])
def test_what_an_answer_gave_is_whole(name: str) -> None:
    """Several cookies of a login go into one header; only quotes are not ended by them."""
    found = frozenset({"session"})
    cookies = "a=1; b=2"
    assert header_of("Cookie", f"{{{name}}}", cookies, found) == cookies
    assert header_of("Cookie", f"theme=dark; {{{name}}}", cookies, found).endswith(cookies)
    with pytest.raises(InvalidRequestError, match="which would end"):
        header_of("X-A", f'key="{{{name}}}"', 'a"b', found)


def test_a_path_query_form_and_json() -> None:
    """There a value is encoded."""
    values = {"prompt": f"../?&#{SEPARATED}"}
    sent = CompiledStep(Step("/a/{prompt}/b", query={"q": "{prompt}"}), {"prompt"}).request(
        values, {}
    )
    assert sent.path.count("/") == 3
    assert not set(sent.path) & set('?&#;,"\\ ')
    form = CompiledStep(Step("/", form={"a": "{prompt}", "b": "1"}), {"prompt"})
    assert form.request(values, {}).body.count(b"&") == 1
    xml = CompiledStep(Step("/", body="<a b='{xml:{prompt}}'/>"), {"prompt"})
    assert xml.request({"prompt": "'><x/>&"}, {}).body == b"<a b='&#x27;&gt;&lt;x/&gt;&amp;'/>"


NAMES: dict[str, tuple[str, str]] = {
    "folders": ("../../etc/passwd", "passwd"),
    "folders of Windows": ("C:\\x\\a.txt", "a.txt"),
    "quotes": ('a"; filename="b.txt', 'a"; filename="b.txt'),
    "line ends": ("a\r\nX-A: 1\r\n\r\n.txt", "aX-A: 1.txt"),
    "NUL": ("a\0.txt", "a.txt"),
    "other letters": ("отчёт 日本.txt", "отчёт 日本.txt"),
    "a megabyte": ("a" * 1_000_000 + ".tar.gz", "a" * 235 + "a" * 13 + ".tar.gz"),
    "nothing else": ("../..", "file.plain"),
}


@pytest.mark.parametrize(("given", "kept"), NAMES.values(), ids=NAMES)
def test_names_of_files(given: str, kept: str) -> None:
    """A name is one name: no folder, no second header or field, and not without an end."""
    part = FilePart("data:text/plain;base64,YQ==", given)
    values: dict[str, Any] = file_values(part, {"name", "base64"})
    assert values["name"] == kept
    body, _ = encode_multipart({"f": File(values["name"], "text/plain", b"a")})
    head, _, rest = body.partition(b"\r\n\r\n")
    assert head.count(b"\r\n") == 2
    assert head.count(b'"') == 4
    assert rest.startswith(b"a\r\n--")
    assert len(head) < 1200


def test_names_of_fields() -> None:
    """Quotes, escapes and control characters of a field's name are written as browsers do."""
    body, _ = encode_multipart({'a"\r\n\0\\b': "x"})
    assert b'name="a%22%0D%0A%00%5Cb"\r\n\r\nx\r\n' in body
