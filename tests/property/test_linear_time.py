"""Work over input grows with its size and not with its square.

Two looks: the regular expressions of the whole package run on a small backtracking matcher that
counts its steps, over texts that Hypothesis makes of each expression's own letters; and readers run
with their bytecode counted, over inputs that have gone wrong elsewhere.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import berlin
from berlin.errors import BerlinError
from berlin.formats.anthropic.format import AnthropicMessagesFormat
from berlin.formats.dialect import DialectFormat
from berlin.formats.ollama.format import OllamaChatFormat
from berlin.formats.openai.format import OpenAIChatFormat
from berlin.formats.responses.format import ResponsesFormat
from berlin.formats.tool_calls import ToolCallAssembler
from berlin.gateway.access.origin import LOOPBACK, Proxies
from berlin.language.values.template import Template
from berlin.types import Secret, mask, nearest
from berlin.wire.framings import FRAMINGS
from berlin.wire.json import _marks_outside_text, decode_request_object
from berlin.wire.pointer import parse_pointer
from berlin.wire.retry_after import parse_reset, parse_retry_after
from berlin.wire.snippet import snippet
from berlin.wire.status import describe_error
from support.line_steps import count_lines
from support.regex_steps import count_steps, letters_of, nested_quantifiers, repeats

SIZE = 60


def all_patterns() -> dict[str, re.Pattern[Any]]:
    """Return the compiled expressions of the package, by where they are."""
    found = {}
    for module in pkgutil.walk_packages(berlin.__path__, "berlin."):
        # The migrations of the ledger can only be imported by Alembic, while it runs.
        if module.name.endswith("__main__") or ".migrations." in module.name:
            continue
        loaded = importlib.import_module(module.name)
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern):
                found.setdefault((value.pattern, value.flags), f"{module.name}.{name}")
    return {where: re.compile(*key) for key, where in found.items()}


PATTERNS = all_patterns()


def test_there_are_patterns_to_look_at() -> None:
    """The walk finds the expressions of the package."""
    assert len(PATTERNS) > 40


def test_no_quantifier_in_a_quantifier() -> None:
    """An unbounded repetition of what is itself an unbounded repetition must not be ambiguous."""
    assert {
        where: found for where in PATTERNS if (found := nested_quantifiers(PATTERNS[where]))
    } == {}


@pytest.mark.parametrize("where", sorted(where for where in PATTERNS if repeats(PATTERNS[where])))
@settings(max_examples=25)
@given(data=st.data())
def test_a_match_takes_linear_steps(where: str, data: st.DataObject) -> None:
    """Twice the text takes about twice the steps, where the match begins at one place."""
    pattern = PATTERNS[where]
    letters = letters_of(pattern)
    piece = data.draw(st.text(st.sampled_from(letters), min_size=1, max_size=4))
    head = data.draw(st.text(st.sampled_from(letters), max_size=6))
    tail = data.draw(st.text(st.sampled_from([*letters, "\0"]), max_size=3))
    once = count_steps(pattern, head + piece * SIZE + tail)
    twice = count_steps(pattern, head + piece * (2 * SIZE) + tail)
    # A bounded repetition (`{0,200}`) may be reached by the longer text alone.
    assert twice <= 2.6 * once + 1_000, (head, piece, tail)


def forwarded(n: int) -> object:
    """Ask who sent a request that went through very many proxies."""
    from aiohttp.test_utils import make_mocked_request

    asked = make_mocked_request("GET", "/", headers={"X-Forwarded-For": "127.0.0.1, " * n})
    return Proxies(LOOPBACK).client(asked)


READERS: dict[str, Callable[[int], object]] = {
    "a body of commas in an open text": lambda n: _marks_outside_text(
        b'{"a":"' + b"," * n + b'","b":"' + b'\\"' * n
    ),
    "a body of quotes": lambda n: _marks_outside_text(b'"' * n),
    "a body of backslashes": lambda n: _marks_outside_text(b"\\" * n),
    "a body that nests": lambda n: decode_request_object(b'{"a":' * n),
    "a template of braces": lambda n: Template("{" * n, frozenset({"prompt"})),
    "a template of placeholders": lambda n: Template("{prompt}" * n, frozenset({"prompt"})).render(
        {"prompt": "{prompt}"}
    ),
    "a pointer": lambda n: parse_pointer("/a" * n),
    "a pointer of tildes": lambda n: parse_pointer("/" + "~0" * n),
    "an error page": lambda n: describe_error(b"<" * n, (("error",),)),
    "a snippet of blanks": lambda n: snippet(" \n" * n),
    "a time to wait": lambda n: parse_retry_after({"retry-after": "1" * n}),
    "a time of a reset": lambda n: parse_reset({"x-ratelimit-reset": "1" * n + "m"}),
    "a date to wait for": lambda n: parse_retry_after({"retry-after": "Mon, " * n}),
    "a masked text": lambda n: mask("hunter2-hunter " * n, [Secret("hunter2-password")]),
    "a masked text of base64": lambda n: mask("aGVsbG8g" * n, [Secret("hunter2-password")]),
    "a masked text of percents": lambda n: mask("%25" * n, [Secret("hunter2-password")]),
    "a masked text of entities": lambda n: mask("&amp;" * n, [Secret("hunter2-password")]),
    "names near to another": lambda n: nearest("ab" * n, ["ba" * n]),
    "proxies on the way": forwarded,
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_linear_steps(name: str) -> None:
    """Twice the input takes about twice the steps."""
    read = READERS[name]
    read_safely(read, 10)  # what is loaded and cached at first use
    once, twice = (count_lines(read, size) for size in (2_000, 4_000))
    assert twice <= 2.3 * once + 500


MESSAGES = '{"model":"m","max_tokens":9,"messages":['
INPUT = '{"model":"m","input":['
CONVERSATIONS: dict[str, tuple[type[DialectFormat], str, str, str]] = {
    "openai turns": (
        OpenAIChatFormat,
        MESSAGES,
        '{"role":"user","content":"x"},{"role":"assistant","content":"y"}',
        "]}",
    ),
    "openai parts": (
        OpenAIChatFormat,
        MESSAGES + '{"role":"user","content":[',
        '{"type":"text","text":"x"}',
        "]}]}",
    ),
    "openai calls": (
        OpenAIChatFormat,
        MESSAGES + '{"role":"user","content":"x"},{"role":"assistant","tool_calls":[',
        '{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}',
        "]}]}",
    ),
    "openai results": (
        OpenAIChatFormat,
        MESSAGES,
        '{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f",'
        '"arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"x"}',
        "]}",
    ),
    "openai tools": (
        OpenAIChatFormat,
        MESSAGES + '{"role":"user","content":"x"}],"tools":[',
        '{"type":"function","function":{"name":"f","parameters":{}}}',
        "]}",
    ),
    "anthropic blocks": (
        AnthropicMessagesFormat,
        MESSAGES + '{"role":"user","content":[',
        '{"type":"text","text":"x"}',
        "]}]}",
    ),
    "anthropic calls": (
        AnthropicMessagesFormat,
        MESSAGES + '{"role":"user","content":"x"},{"role":"assistant","content":[',
        '{"type":"tool_use","id":"c","name":"f","input":{}}',
        "]}]}",
    ),
    "anthropic thoughts": (
        AnthropicMessagesFormat,
        MESSAGES + '{"role":"user","content":"x"},{"role":"assistant","content":[',
        '{"type":"thinking","thinking":"x","signature":"s"},{"type":"text","text":"x"}',
        "]}]}",
    ),
    "anthropic results": (
        AnthropicMessagesFormat,
        MESSAGES + '{"role":"user","content":[',
        '{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"x"}]}',
        "]}]}",
    ),
    "ollama turns": (
        OllamaChatFormat,
        MESSAGES,
        '{"role":"user","content":"x"},{"role":"assistant","content":"","tool_calls":[{"function":'
        '{"name":"f","arguments":{}}}]},{"role":"tool","content":"x","tool_name":"f"}',
        "]}",
    ),
    "responses calls": (
        ResponsesFormat,
        INPUT,
        '{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}',
        "]}",
    ),
    "responses answers": (
        ResponsesFormat,
        INPUT + '{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},',
        '{"type":"message","role":"assistant","content":[{"type":"output_text","text":"x"}]}',
        "]}",
    ),
    "responses thoughts": (
        ResponsesFormat,
        INPUT,
        '{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"x"}]}',
        "]}",
    ),
    "responses results": (
        ResponsesFormat,
        INPUT,
        '{"type":"function_call_output","call_id":"c","output":"x"}',
        "]}",
    ),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_takes_linear_steps(name: str) -> None:
    """Twice the messages, parts, calls or tools take about twice the steps, in each dialect."""
    dialect, before, item, after = CONVERSATIONS[name]

    def pass_on(n: int) -> None:
        call = dialect().decode_request((before + ",".join([item] * n) + after).encode())
        for sent in (OpenAIChatFormat, AnthropicMessagesFormat, OllamaChatFormat, ResponsesFormat):
            with contextlib.suppress(BerlinError, StopIteration):
                next(sent().encode_request(call.request))

    pass_on(1)
    once, twice = (count_lines(pass_on, size) for size in (150, 300))
    assert once > 150
    assert twice <= 2.2 * once + 500


def read_safely(read: Callable[[int], object], size: int) -> None:
    """Read once, whatever comes of it."""
    with contextlib.suppress(BerlinError):
        read(size)


def documents_of(name: str, size: int) -> bytes:
    """Return an answer of very many tiny documents."""
    writer = FRAMINGS[name].writer()
    return b"".join([writer.write({"data": "1"}) for _ in range(size)]) + writer.end()


def read_answer(name: str, data: bytes, step: int) -> None:
    """Cut an answer into its documents, by reads of so many bytes."""
    framer = FRAMINGS[name].framer()
    for at in range(0, len(data), step):
        framer.feed(data[at : at + step])


def add_pieces(size: int) -> None:
    """Take a tool call whose id comes with each of its pieces."""
    calls = ToolCallAssembler()
    calls.add([], 0, "c", "f", '{"a":"')
    for _ in range(size):
        calls.add([], 0, "c", "", "}")


WORK: dict[str, Callable[[int], Callable[[], None]]] = {
    **{
        f"many documents: {name}": lambda n, name=name: partial(
            read_answer, name, documents_of(name, n // 4), 1 << 30
        )
        for name in FRAMINGS
    },
    **{
        f"a long document: {name}": lambda n, name=name: partial(
            read_answer, name, FRAMINGS[name].writer().write({"data": "1" * 10 * n}), 16
        )
        for name in FRAMINGS
    },
    "pieces of a tool call": lambda n: partial(add_pieces, n),
}


@pytest.mark.parametrize("name", WORK)
def test_work_in_c_is_linear_too(name: str) -> None:
    """Copies and searches are no lines of Python, so the processor's time is compared: eight times
    the input may take 64 times as long where the work is quadratic.
    """

    def seconds(size: int) -> float:
        work, taken = WORK[name](size), []
        for _ in range(3):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
        return min(taken)

    assert seconds(40_000) <= 24 * seconds(5_000) + 0.05
