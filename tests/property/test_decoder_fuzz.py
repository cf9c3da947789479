"""Whatever comes in from outside, only a value or a BerlinError comes out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from importlib import resources
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.config import Config
from berlin.errors import BerlinError, ConfigurationError
from berlin.formats.contract import ClientCall
from berlin.formats.described.decoder import MappedDecoder
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.language.toml import parse_toml
from berlin.language.values.typed import CompiledDocument
from berlin.recipes.recipe import Recipe, load_recipe, parse_recipe
from berlin.types import ChatRequest, Endpoint, StreamEvent, TextDelta
from berlin.wire.inflate import PIECE_BYTES, Inflater
from berlin.wire.pointer import MISSING, get_at, parse_pointer
from berlin.wire.retry_after import LONGEST_RETRY_AFTER_S, parse_retry_after
from berlin.wire.status import error_from_answer

BOUNDED = settings(max_examples=100)
FORMAT = load_recipe("berlin").format()
BERLIN_TOML = resources.files("berlin.recipes").joinpath("shipped", "berlin.toml").read_text()


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the value of a call, or the BerlinError that it raises; all else comes through."""
    try:
        return call(*arguments)
    except BerlinError as error:
        return error


# Answers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "1", "content"]), inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
BERLIN_OBJECT = st.dictionaries(
    st.sampled_from(
        ["content", "error", "message", "code", "status", "finish_reason", "done", "usage"]
    ),
    JSON,
    max_size=4,
)
LINE = st.one_of(
    (BERLIN_OBJECT | JSON).map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=20),
)
ANSWERS = st.one_of(st.binary(max_size=200), st.lists(LINE, max_size=6).map(b"\n".join))


def decode(decoder: MappedDecoder, data: bytes, size: int) -> list[StreamEvent]:
    """Decode an answer in reads of one size; nothing but events and a `failure` may come out."""
    events: list[StreamEvent] = []
    for n in range(0, len(data), size):
        events += decoder.feed(data[n : n + size])
    events += decoder.finish()
    assert decoder.failure is None or isinstance(decoder.failure, BerlinError)
    return events


@BOUNDED
@given(ANSWERS, st.integers(1, 60))
@example(b'{"error":' + b"[" * 200_000, 65536)
@example(b'{"content":"a","error":' + b"[" * 9000 + b"]" * 9000 + b"}\n", 65536)
@example(b'{"content":"a","code":' + b"9" * 100_000 + b"}\n", 65536)
@example(b'{"code":' + b"9" * 100_000 + b"}\n", 65536)
@example(b'{"code":1e999}\n{"error":NaN}\n', 65536)
@example('{"code":"\u00b2"}\n{"code":"\u0664\u0660\u0661"}\n'.encode(), 65536)
@example(b'{"error":"\\ud800"}\n', 65536)
@example(b'{"error":{"a":"\\ud800"}}\n', 65536)
def test_any_answer_gives_events_or_a_failure(data: bytes, size: int) -> None:
    """No answer makes the decoder raise; its text can be sent on as UTF-8."""
    events = decode(FORMAT.decoder(), data, size)
    repr(events).encode()
    assert len(FORMAT.describe_error(data)) <= 300


SEGMENT = st.sampled_from(["a", "b", "0", "1", "content"])
POINTER = st.lists(SEGMENT, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@BOUNDED
@given(
    st.lists(POINTER, min_size=1, max_size=3),
    st.lists(POINTER, max_size=3),
    st.lists(POINTER, max_size=2),
    st.lists(JSON | BERLIN_OBJECT, max_size=4),
)
def test_any_described_stream_reads_any_answer(
    text: list[str], reason: list[str], error: list[str], documents: list[Any]
) -> None:
    """Pointers that go together read every answer; those that do not are refused at once."""
    described = StreamMap("ndjson", text, finish_reason=reason, error=error, error_code=error)
    stream = outcome(CompiledStream, described)
    if isinstance(stream, BerlinError):
        assert type(stream) is ConfigurationError
        return
    data = b"".join(json.dumps(document).encode() + b"\n" for document in documents)
    decode(MappedDecoder(stream), data, 1 << 16)


TEXTS = st.lists(st.sampled_from(["/a", "/a/b", "/a/0", "/a/1", "/a/0/b", "/a/1/c", "/b/a", "/0"]))
TREE = st.recursive(
    st.none() | st.sampled_from(["x", "y", "z", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc0"), inner),
    max_leaves=8,
)


@settings(max_examples=150)
@given(TEXTS, TEXTS, st.dictionaries(st.sampled_from("ab0"), TREE))
@example(["/a/b", "/a"], [], {"a": {"b": "x"}})
@example(["/a/0", "/a/1/c"], [], {"a": ["x", {"c": "y"}]})
@example(["/a/0/b", "/a/1/c"], [], {"a": [{"b": "x", "c": "y"}, {"b": "z", "c": "x"}]})
@example(["/a/b"], ["/a"], {"a": {"b": "x"}})
@example(["/a/0/b"], ["/a/1"], {"a": [{"b": "x"}, {"b": "y"}]})
def test_compiled_readers_read_what_the_pointers_mean(
    texts: list[str], others: list[str], document: Any
) -> None:
    """A compiled document reads at each pointer the value that the pointer names."""
    pointers = [parse_pointer(text) for text in texts]
    more = [pointer for pointer in map(parse_pointer, others) if pointer not in pointers]
    try:
        compiled = CompiledDocument(pointers, more)
        readers = {pointer: compiled.reader(pointer) for pointer in [*pointers, *more]}
    except ConfigurationError:
        return  # these pointers do not go together
    try:
        read = msgspec.json.decode(json.dumps(document), type=compiled.type)
    except msgspec.ValidationError:
        return  # what should be text is none: a ProtocolError of the stream
    for pointer, reader in readers.items():
        value, meant = reader(read), get_at(document, pointer)
        if isinstance(value, msgspec.Raw):
            value = msgspec.json.decode(value)
        # Nothing stands below a null: the decoder takes that for null, the pointer for nothing.
        assert (value or None if value is not msgspec.UNSET else None) == (meant or None)


# Compressed bodies


def inflate(inflater: Inflater, reads: list[bytes]) -> bytes:
    """Decompress reads as the transport does, piece by piece."""
    held = b""
    for read in reads:
        held += inflater.feed(read)
        steps = 0
        while inflater.pending:
            piece = inflater.more()
            assert len(piece) <= PIECE_BYTES
            held += piece
            steps += 1
            assert steps < 1000, "more is to come without further bytes, but nothing comes"
    inflater.finish()
    return held


@BOUNDED
@given(
    st.sampled_from(["gzip", "deflate"]), st.lists(st.binary(min_size=1, max_size=30), max_size=6)
)
def test_any_bytes_for_the_inflater(encoding: str, reads: list[bytes]) -> None:
    """Bytes that are no gzip or deflate are a BerlinError, or happen to be some."""
    inflater = Inflater.of(encoding)
    assert inflater is not None
    assert isinstance(outcome(inflate, inflater, reads), bytes | BerlinError)


@BOUNDED
@given(
    st.sampled_from(["gzip", "zlib", "raw"]),
    st.binary(max_size=300),
    st.integers(0, 400),
    st.binary(max_size=3),
    st.integers(1, 50),
)
def test_damaged_compressed_bytes(
    kind: str, body: bytes, at: int, damage: bytes, size: int
) -> None:
    """A damaged body is a BerlinError, unless the damage leaves it whole."""
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(body),
        "zlib": zlib.compress(body),
        "raw": raw.compress(body) + raw.flush(),
    }[kind]
    packed = packed[:at] + damage + packed[at + len(damage) :]
    reads = [packed[n : n + size] for n in range(0, len(packed), size)]
    inflater = Inflater.of("gzip" if kind == "gzip" else "deflate")
    assert inflater is not None
    result = outcome(inflate, inflater, reads)
    assert isinstance(result, bytes | BerlinError)
    if kind == "gzip" and isinstance(result, bytes):
        assert body.startswith(result)  # gzip has a checksum: nothing wrong comes through


# Descriptions

TOML_TOKENS = (
    *("[", "]", "[[", "]]", "=", ".", "\n", '"', "'", '"""', "{", "}", ",", "#", "-", "1", "1e9"),
    *("schema", "name", "auth", "chat", "stream", "body", "endpoint", "providers", "true", "é"),
    *("timeouts", "0x", "1979-05-27T07:32:00Z", "inf", "nan", "\\u", "\\ud800", "\0", "\r", " "),
)
TOML = st.one_of(
    st.text(max_size=60), st.lists(st.sampled_from(TOML_TOKENS), max_size=20).map("".join)
)


@BOUNDED
@given(TOML, st.sampled_from([Recipe, Config]))
@example("a=" + "[" * 5000, Config)
@example("schema = " + "9" * 5000, Recipe)
@example("a." * 3000 + "b = 1", Config)
def test_any_text_for_the_toml_reader(text: str, kind: type) -> None:
    """A text is a configuration or a ConfigurationError that names its source."""
    result = outcome(parse_toml, text, "some.toml", kind)
    if isinstance(result, BerlinError):
        assert type(result) is ConfigurationError
        assert result.message.startswith("some.toml")
    else:
        assert isinstance(result, kind)


@BOUNDED
@given(st.integers(0, len(BERLIN_TOML)), st.integers(0, 20), TOML)
def test_any_damage_to_a_recipe(at: int, dropped: int, put: str) -> None:
    """A damaged recipe is a recipe still, or a ConfigurationError."""
    text = BERLIN_TOML[:at] + put + BERLIN_TOML[at + dropped :]
    result = outcome(parse_recipe, text, "berlin.toml")
    assert isinstance(result, Recipe) or type(result) is ConfigurationError


ODD_SEGMENT = st.sampled_from(
    ["", "0", "00", "-1", "²", "٣", "9" * 30, '"', "\\\\", "~0", "~1", "~", "é", "\\u0001", "a b"]
)
ODD_POINTER = st.lists(ODD_SEGMENT, max_size=4).map(lambda parts: "/" + "/".join(parts))


@BOUNDED
@given(st.sampled_from(["text", "error", "finish_reason"]), st.lists(ODD_POINTER, max_size=3))
@example("text", ["/a/²"])
@example("text", ["/a/" + "9" * 5000])
@example("text", ['/a\\"b'])
@example("text", ["/a/0", "/a/b"])
@example("text", ["/a", "/a/b"])
@example("text", ["/a/b", "/a"])
@example("text", [])
@example("error", ["/"])
def test_any_pointers_in_a_recipe(member: str, pointers: list[str]) -> None:
    """A recipe with odd pointers can be used for any answer, or is a ConfigurationError."""
    lines = [
        f"{member} = {toml_strings(pointers)}" if line.startswith(f"{member} =") else line
        for line in BERLIN_TOML.splitlines()
    ]
    recipe = outcome(parse_recipe, "\n".join(lines), "odd.toml")
    if isinstance(recipe, BerlinError):
        assert type(recipe) is ConfigurationError
        return
    for data in (b'{"a":{"0":"x"},"":""}\n', b'{"a":["x"],"0":1}\n', b'{"a":null}\n'):
        decode(recipe.format().decoder(), data, 1 << 16)
    assert (
        recipe.format()
        .encoder(ClientCall(ChatRequest.of("x")))
        .encode_event(TextDelta("x"))
        .endswith(b"\n")
    )


def toml_strings(values: list[str]) -> str:
    """Return a TOML array of strings; the backslashes in them are escapes already."""
    quoted = [value if '\\"' in value else value.replace('"', '\\"') for value in values]
    return "[" + ", ".join(f'"{value}"' for value in quoted) + "]"


@BOUNDED
@given(st.text(max_size=20) | POINTER, JSON)
def test_any_text_for_a_pointer(text: str, document: Any) -> None:
    """A text is a pointer that can be followed anywhere, or a ConfigurationError."""
    pointer = outcome(parse_pointer, text)
    if isinstance(pointer, BerlinError):
        assert type(pointer) is ConfigurationError
        return
    assert all(isinstance(segment, str) for segment in pointer)
    get_at(document, pointer)
    assert get_at({}, pointer) is MISSING


# Settings and headers

URL_TOKENS = (
    *("http", "https", "file", "socks5", "://", ":", "/", "//", "@", "?", "#", "[", "]", "::1"),
    *("localhost", "127.0.0.1", "example.org", "%", "%00", "\\", "\t", "é", "\u2100", "0", "65536"),
)
URLS = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(URL_TOKENS), max_size=8).map("".join),
    st.lists(st.sampled_from(URL_TOKENS), max_size=6).map(
        lambda parts: "https://" + "".join(parts)
    ),
    st.none() | st.integers() | st.binary(max_size=5),
)


@BOUNDED
@given(URLS, URLS, st.booleans())
def test_any_value_for_an_endpoint(url: Any, proxy: Any, allow_http: bool) -> None:
    """A value is an endpoint with a URL that can be used, or a ConfigurationError."""
    for given_proxy in (None, proxy):
        result = outcome(lambda p=given_proxy: Endpoint.of(url, proxy=p, allow_http=allow_http))
        if isinstance(result, BerlinError):
            assert type(result) is ConfigurationError
        else:
            assert result.url.startswith(("http://", "https://"))
            assert "@" not in result.url.split("/")[2]


HEADER = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [-+A-Z0-9]{0,5}"),
    st.sampled_from(
        ["-1", "nan", "inf", "1e9", "9" * 13, "٣", "1.5", "Mon, 01 Jan 0001 00:00:00 GMT",
         "Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 99 Jan 2024 99:99:99 GMT", "0", ""]
    ),
)  # fmt: skip


@BOUNDED
@given(HEADER, HEADER, HEADER, st.integers(100, 1000))
def test_any_retry_after(value: str, millis: str, date: str, status: int) -> None:
    """A header is a number of seconds within the bounds, or nothing; never an error of its own."""
    headers = {"retry-after": value, "retry-after-ms": millis, "date": date}
    for some in (headers, {"retry-after": value}, {"retry-after": value, "date": date}):
        seconds = parse_retry_after(some)
        assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_S
    assert isinstance(error_from_answer(status, headers, ""), BerlinError)


def test_the_outcome_helper_lets_other_errors_through() -> None:
    """These tests can fail: what is no BerlinError is not swallowed."""
    with pytest.raises(msgspec.DecodeError):
        outcome(msgspec.json.decode, b"{")
