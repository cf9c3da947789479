"""Faults of the stream, part 2: what the objects in its lines say, or fail to say."""

from __future__ import annotations

import json

import pytest

from berlin import errors
from support.fault_play import play
from support.fault_steps import answer, line, login_answer, stream


async def test_S20_invalid_json_in_the_middle() -> None:
    """A line that is no JSON ends the answer with an error; nothing is skipped in silence."""
    seen = await play(stream(line("a"), line("b"), b'{"content":oops}\n', line("c")))
    seen.failed_with(errors.ProtocolError, after=["a", "b"])


async def test_S20_invalid_json_in_the_same_segment() -> None:
    """What came before a bad line is delivered, also if it came in the same read."""
    seen = await play(stream(line("a") + line("b") + b"oops\n" + line("c")))
    seen.failed_with(errors.ProtocolError, after=["a", "b"])


@pytest.mark.parametrize("cut", [b"{", b'{"con', b'{"content":"b', b'{"content":"b"', b'{"a":{}'])
async def test_S21_last_object_cut(cut: bytes) -> None:
    """An answer whose last object is cut was cut off, however cleanly HTTP ends it."""
    seen = await play(stream(line("a"), cut))
    seen.failed_with(errors.TruncatedStreamError, after=["a"])


@pytest.mark.parametrize("odd", [{}, {"id": 1}, {"Content": "b"}, {"delta": {"content": "b"}}])
async def test_S22_object_without_content(odd: dict[str, object]) -> None:
    """An object with nothing that is described is an error, not something to skip."""
    seen = await play(stream(line("a"), json.dumps(odd).encode() + b"\n", line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S23_content_null() -> None:
    """A null is no text, and no harm."""
    seen = await play(stream(line("a"), line(None), line("b")))
    assert seen.pieces == ["a", "b"]
    assert seen.error is None


async def test_S23_content_null_only() -> None:
    """An answer of nulls is an empty answer."""
    seen = await play(stream(line(None), line(None)))
    seen.failed_with(errors.EmptyResponseError)


@pytest.mark.parametrize("value", [5, 0, 1.5, True, False])
@pytest.mark.parametrize("end", [b"\n", b""], ids=["newline", "no newline"])
async def test_S24_content_number(value: object, end: bytes) -> None:
    """A number is no text, nor is a boolean, also in a last line without newline."""
    seen = await play(stream(line("a"), line(value).rstrip() + end))
    seen.failed_with(errors.ProtocolError, after=["a"])


@pytest.mark.parametrize("value", [{}, {"text": "b"}, [], ["b"], [{"type": "text", "text": "b"}]])
async def test_S25_content_object_or_list(value: object) -> None:
    """Objects and lists are no text."""
    seen = await play(stream(line("a"), line(value), line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S26_content_empty_string() -> None:
    """Empty pieces do no harm, and are not handed on."""
    seen = await play(stream(line(""), line("a"), line(""), line("b"), line("")))
    assert seen.pieces == ["a", "b"]
    assert seen.error is None


@pytest.mark.parametrize("value", ['["content"]', '"content"', "1", "true", "null", "[]"])
async def test_S27_line_is_no_object(value: str) -> None:
    """JSON that is no object is a protocol error."""
    seen = await play(stream(line("a"), value.encode() + b"\n", line("b")))
    seen.failed_with(errors.ProtocolError, after=["a"])


async def test_S28_duplicate_key() -> None:
    """Of two members of one name, the last counts."""
    seen = await play(stream(b'{"content":"a","content":"b"}\n', line("c")))
    assert seen.pieces == ["b", "c"]
    assert seen.error is None


@pytest.mark.parametrize("number", ["9" * 100_000, "-" + "9" * 100_000, "1e999", "-1E+999"])
async def test_S30_huge_number_in_another_field(number: str) -> None:
    """A number that no type holds does no harm in a field that nobody reads."""
    seen = await play(stream(f'{{"content":"a","x":{number}}}\n'.encode(), line("b")))
    assert seen.text == "ab"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_S30_nan_in_another_field(number: str) -> None:
    """NaN and infinity are no JSON, wherever they stand."""
    seen = await play(stream(line("a"), f'{{"content":"b","x":{number}}}\n'.encode()))
    seen.failed_with(errors.ProtocolError, after=["a"])


@pytest.mark.parametrize("number", ["9" * 100_000, "1e999"])
@pytest.mark.parametrize("where", ['"usage":{"input_tokens":%s}', '"done":%s'])
async def test_S30_huge_number_in_a_described_field(number: str, where: str) -> None:
    """In a field that is read, a number that no type holds is unknown; the text arrives."""
    seen = await play(stream(line("a"), b'{"content":"b",%s}\n' % (where % number).encode()))
    assert seen.text == "ab"


@pytest.mark.parametrize("number", ["9" * 100_000, "1e999"])
async def test_S30_huge_number_as_a_code(number: str) -> None:
    """A document that says nothing that is described is an error; the text before it arrives."""
    seen = await play(stream(line("a"), b'{"code":%s}\n' % number.encode()))
    seen.failed_with(errors.ProtocolError, after=["a"])


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"error": {"message": "out of tea"}}, errors.ServiceError),
        ({"error": "out of tea"}, errors.ServiceError),
        ({"error": {"message": "out of tea", "code": 429}}, errors.RateLimitError),
        ({"error": {"message": "out of tea", "type": "rate_limit_error"}}, errors.RateLimitError),
        ({"code": 500, "message": "out of tea"}, errors.ServiceUnavailableError),
        ({"status": "403", "msg": "out of tea"}, errors.PermissionDeniedError),
        ({"content": "", "error": "out of tea"}, errors.ServiceError),
    ],
)
async def test_S31_error_object_in_the_middle(
    said: dict[str, object], kind: type[errors.BerlinError]
) -> None:
    """An error in the middle of an answer ends it, with the service's own words."""
    seen = await play(stream(line("a"), json.dumps(said).encode() + b"\n", line("b")))
    assert "out of tea" in seen.failed_with(kind, after=["a"])
    assert len(seen.chats) == 1


@pytest.mark.parametrize("end", [b"\n", b""], ids=["newline", "no newline"])
async def test_S32_whole_body_is_an_error_object(end: bytes) -> None:
    """A 200 that is nothing but an error is that error."""
    seen = await play(stream(b'{"error":{"message":"out of tea","type":"kitchen"}}' + end))
    assert "out of tea" in seen.failed_with(errors.ServiceError)
    assert len(seen.chats) == 1


async def test_S32_error_code_that_can_be_tried_again() -> None:
    """An error inside a 200 whose code says so is tried again, three times at most."""
    seen = await play(stream(b'{"code":503,"message":"out of tea"}\n'))
    assert "out of tea" in seen.failed_with(errors.ServiceUnavailableError)
    assert len(seen.chats) == 3


@pytest.mark.parametrize("code", [401, "401"])
async def test_S33_auth_failure_envelope(code: object) -> None:
    """A refused token inside a 200 makes one new login and one more try."""
    refused = json.dumps({"code": code, "message": "token expired"}).encode()
    seen = await play(
        stream(refused),
        stream(line("welcome")),
        logins=[login_answer("first-token"), login_answer("second-token")],
    )
    assert seen.text == "welcome"
    assert [one.headers["token"] for one in seen.chats] == ["first-token", "second-token"]
    assert len(seen.logins) == 2


async def test_S33_auth_failure_envelope_always() -> None:
    """If the new token is refused too, that is the answer: no login storm."""
    seen = await play(stream(b'{"code":401,"message":"token expired"}\n'))
    assert "token expired" in seen.failed_with(errors.AuthenticationError)
    assert (len(seen.logins), len(seen.chats)) == (2, 2)


@pytest.mark.parametrize("done", [b"[DONE]\n", b"data: [DONE]\n", b"[DONE]"])
async def test_S35_done_line_at_the_end(done: bytes) -> None:
    """An end mark of another protocol is an error after all the text, never text itself."""
    seen = await play(stream(line("a"), line("b"), done))
    seen.failed_with(errors.ProtocolError, after=["a", "b"])


@pytest.mark.parametrize("mark", ["", "\n"], ids=["one line", "lines"])
async def test_S36_html_page_with_200(mark: str) -> None:
    """A web page is a protocol error that shows at most 300 characters of it."""
    page = f"<!doctype html>{mark}<html>{'Please log in. ' * 400}</html>"
    seen = await play(stream(page.encode(), headers=("Content-Type: text/html",)))
    message = seen.failed_with(errors.ProtocolError)
    assert "<!doctype html>" in message
    assert len(message) <= 300 + len("a line is not as described: … in ''") + 80
    assert len(seen.chats) == 1


@pytest.mark.parametrize("empty", [answer(), stream(), stream(b"\n"), stream(b" \r\n\n")])
async def test_S37_empty_body(empty: tuple[object, ...]) -> None:
    """A 200 without anything in it is an empty answer, not an empty success."""
    seen = await play(empty)
    seen.failed_with(errors.EmptyResponseError)
    assert len(seen.chats) == 1


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content"])
async def test_S38_no_content(status: str) -> None:
    """A status that means "nothing to show" is an empty answer."""
    seen = await play(answer(status))
    assert status[:3] in seen.failed_with(errors.EmptyResponseError)
    assert len(seen.chats) == 1


async def test_S45_unknown_extra_keys() -> None:
    """Members that nobody described are not looked at."""
    extra = {"id": "x" * 500, "choices": [{"a": [1, None, {}]}], "": {"content": "no"}, "é": None}
    seen = await play(stream(line("a", **extra), line("b", **extra)))
    assert seen.text == "ab"


@pytest.mark.parametrize(
    "last",
    [
        {"finish_reason": "stop"},
        {"finishReason": "length"},
        {"done": True},
        {"content": None, "finish_reason": "stop"},
        {"content": "", "done": True},
    ],
)
async def test_S46_final_event_with_only_a_finish_reason(last: dict[str, object]) -> None:
    """The last object may say nothing but why it is the last."""
    seen = await play(stream(line("a"), json.dumps(last).encode() + b"\n"))
    assert seen.text == "a"
