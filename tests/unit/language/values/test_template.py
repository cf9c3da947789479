"""Templates: JSON with placeholders, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.step import CompiledStep, Step
from berlin.language.values.template import Template
from berlin.wire.json import encode_body

NAMES = frozenset({"prompt", "model"})


@pytest.mark.parametrize(
    ("tree", "document"),
    [
        ({"q": "{prompt}"}, {"q": "Hi {model}"}),
        ({"q": "<{prompt}>"}, {"q": "<Hi {model}>"}),
        ({"q": ["{prompt}", {"m": "{model}"}]}, {"q": ["Hi {model}", {"m": 5}]}),
        ({"q": "{model}{model}"}, {"q": "55"}),
        ({"q": "{Prompt} { prompt } {} {{"}, {"q": "{Prompt} { prompt } {} {{"}),
        ({"n": 1, "b": True, "z": None, "f": 0.5}, {"n": 1, "b": True, "z": None, "f": 0.5}),
        ({"{prompt}": 1}, {"{prompt}": 1}),
    ],
)
def test_a_template_is_filled(tree: dict[str, Any], document: dict[str, Any]) -> None:
    """A whole placeholder becomes the value with its type; a value is never a template itself."""
    assert Template(tree, NAMES).render({"prompt": "Hi {model}", "model": 5}) == document


def test_filling_leaves_the_template_as_it_was() -> None:
    """What is done with one document does not show in the next."""
    template = Template({"options": {"model": "{model}", "list": [1]}}, NAMES)
    first = template.render({"model": "a"})
    first["options"]["temperature"] = 1
    first["options"]["list"].append(2)
    assert template.render({"model": "b"}) == {"options": {"model": "b", "list": [1]}}


def test_an_unknown_placeholder_is_refused() -> None:
    """A placeholder that nobody fills is an error that names its place and the known ones."""
    with pytest.raises(ConfigurationError) as caught:
        Template({"a": [{"b": "{promt}"}]}, NAMES)
    assert caught.value.message == ("unknown placeholder {promt} at /a/0/b; did you mean {prompt}?")


def test_a_document_is_read_back() -> None:
    """The values are found where the placeholders stand, of any type, and all else is ignored."""
    template = Template({"q": "{prompt}", "options": {"model": "{model}", "n": 1}}, NAMES)
    document = {"q": ["x"], "options": {"model": None, "n": 2}, "more": 3}
    assert template.parse(document) == {"prompt": ["x"], "model": None}


@pytest.mark.parametrize("document", [{}, {"options": []}, {"options": {}}, [], None, "text", 5])
def test_a_document_without_the_value(document: Any) -> None:
    """A missing value is an error of the request that names the place."""
    template = Template({"options": {"model": "{model}"}}, NAMES)
    with pytest.raises(InvalidRequestError, match=r"^options\.model: missing$"):
        template.parse(document)


LOGIN_BODY = {"account": "{account}", "password": "{password}"}
LOGIN = CompiledStep(
    Step("/login", json=LOGIN_BODY, take={"token": "/data/token"}), {"account", "password"}
)


def test_an_exchange_reads_what_a_client_fills_in() -> None:
    """What a client puts into the template comes out: quotes, line ends and emoji too."""
    values = {"account": 'q"\\u0041', "password": "п\n\u2028😀"}
    body = encode_body(Template(LOGIN_BODY, frozenset(values)).render(values))
    assert LOGIN.parse(body) == values


def test_an_exchange_answers_where_the_client_looks() -> None:
    """The value stands at the pointer by which a client takes it."""
    assert json.loads(LOGIN.answer({"token": "t0ken"}).body) == {"data": {"token": "t0ken"}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        b'{"account":"a"}',
    ],
)
def test_a_request_of_an_exchange_that_is_wrong(body: bytes) -> None:
    """A login that a client sent wrong is an error of its request."""
    with pytest.raises(InvalidRequestError):
        LOGIN.parse(body)


def test_values_that_berlin_generates() -> None:
    """They are new in each rendering, and a value that is given is not generated in vain."""
    template = Template({"id": "{uuid4}", "n": "{counter}"}, frozenset())
    first, given = template.render({}), template.render({"counter": 7})
    last = template.render({})
    assert len({first["id"], given["id"], last["id"]}) == 3
    assert (given["n"], last["n"]) == (7, first["n"] + 1)
