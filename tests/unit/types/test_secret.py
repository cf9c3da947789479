"""Secrets do not show themselves."""

from __future__ import annotations

import base64
import copy
import html
import json
import logging
import pickle
import traceback
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from berlin.types import HttpRequest, Secret, mask

TEXT = "hunter2-pässword"


def test_only_reveal_shows_the_text() -> None:
    """`reveal()` is the one way to the text; every way to print it gives `***`."""
    secret = Secret(TEXT)
    assert secret.reveal() == TEXT
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", "%s" % secret, f"{secret!r}"]  # noqa: UP031  # one of the ways
    assert shown == ["***"] * len(shown)
    assert repr([secret, {"password": secret}]) == "[***, {'password': ***}]"


def test_a_log_line_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """Logging it, as text or as an argument, writes `***`."""
    logging.getLogger("test").warning("password %s, %r", Secret(TEXT), Secret(TEXT))
    assert caplog.messages == ["password ***, ***"]


def test_a_traceback_with_locals_does_not_show_it() -> None:
    """X12: a crash report that prints all locals shows `***`."""
    report = ""
    try:
        password = Secret(TEXT)
        raise RuntimeError(f"with {password}")
    except RuntimeError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        report = "".join(told.format())
    assert "password = ***" in report
    # The source line `password = Secret(TEXT)` is no value.
    assert TEXT not in report


def test_it_has_no_attributes_to_list() -> None:
    """`vars` finds nothing, so a dump of an object finds nothing either."""
    with pytest.raises(TypeError):
        vars(Secret(TEXT))
    with pytest.raises(AttributeError):
        Secret(TEXT).other = 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_c28_it_is_never_pickled(protocol: int) -> None:
    """Pickling it is an error that says what to do instead."""
    with pytest.raises(TypeError, match=r"^a secret is never pickled; make a new provider"):
        pickle.dumps(Secret(TEXT), protocol)


def test_c28_it_is_never_serialised() -> None:
    """Neither json nor msgspec writes it."""
    with pytest.raises(TypeError):
        json.dumps({"password": Secret(TEXT)})
    with pytest.raises(TypeError):
        msgspec.json.encode({"password": Secret(TEXT)})


def test_c28_a_deep_copy_is_itself() -> None:
    """It never changes, so a deep copy of what holds it holds the same one."""
    secret = Secret(TEXT)
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret


def test_it_is_compared_by_its_text() -> None:
    """Equal texts are equal secrets; a secret is never equal to the bare text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Secret("aa")
    assert Secret("a") != "a"
    assert Secret("\ud800") != Secret("\ud801")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert hash(Secret("a")) != hash("a")


def test_an_empty_secret_is_false() -> None:
    """Whether there is one can be asked without reading it."""
    assert not Secret("")
    assert Secret(" ")


def test_a_request_shows_neither_headers_nor_body() -> None:
    """The repr of an HTTP request tells where it goes and how long it is, nothing else."""
    request = HttpRequest(
        "POST", "/api/login", {"token": Secret(TEXT), "plain": TEXT}, body=b"secret"
    )
    assert repr(request) == "HttpRequest(POST /api/login, 6 bytes)"


PASSWORD = 'pa"ss\\word  жук+1'


@pytest.mark.parametrize(
    "written",
    [
        PASSWORD,
        json.dumps(PASSWORD),
        json.dumps(PASSWORD, ensure_ascii=False),
        " ".join(PASSWORD.split()),
        quote(PASSWORD),
        quote_plus(PASSWORD),
        repr(json.dumps(PASSWORD)),
    ],
)
def test_a_secret_is_masked_however_it_is_written(written: str) -> None:
    """As it is, as JSON, in a URL, with its blanks folded: nothing of it is left."""
    masked = mask(f"sent: {written}!", [Secret(PASSWORD)])
    assert "***" in masked
    assert "word" not in masked
    assert masked.endswith("!")


def test_a_secret_that_was_cut_is_masked() -> None:
    """The beginning of a secret at the end of a cut text is masked, too."""
    assert mask("not so-very-sec… (at the login)", [Secret("so-very-secret")]) == (
        "not ***… (at the login)"
    )


ODD = "Passw\"rd&1<CANARY>é'+/"


@pytest.mark.parametrize(
    "written",
    [
        html.escape(ODD),
        html.escape(ODD, quote=False),
        html.escape(ODD).replace("&#x27;", "&#39;"),
        base64.b64encode(ODD.encode()).decode(),
        base64.urlsafe_b64encode(b"x" + ODD.encode() + b"y").decode(),
        base64.b64encode(b"id:" + ODD.encode()).decode(),
        base64.b64encode(b"someone:" + ODD.encode() + b":more").decode(),
        ODD.encode().hex(),
        quote(quote(ODD, safe=""), safe=""),
        html.escape(quote(ODD)),
        quote(base64.b64encode(b"someone:" + ODD.encode()).decode()),
        base64.b64encode(quote(ODD).encode()).decode(),
        "".join(f"&#{ord(c)};" for c in ODD),
        "".join(f"&#x{ord(c):x};" for c in ODD),
        "".join(f"\\u{ord(c):04x}" for c in ODD),
        "".join(f"%{b:02X}" for b in ODD.encode()),
        "\n  ".join((ODD[:6], ODD[6:])),
        "<br>".join((ODD[:9], ODD[9:])),
    ],
)
def test_a_secret_is_masked_in_what_decodes_to_it(written: str) -> None:
    """In HTML, base64 at any offset, hexadecimal, twice encoded or taken apart: nothing is left."""
    masked = mask(f"<td>Authorization: Basic {written}</td> and more", [Secret(ODD)])
    assert written not in masked
    assert "***" in masked
    assert masked.endswith(" and more")


def test_what_holds_no_secret_stays() -> None:
    """Text, paths, hashes and other base64 are left as they are."""
    text = (
        "POST /v1/chat?x=%20&amp; e3b0c44298fc1c149afbf4c8996fb924 aGVsbG8gd29ybGQ= don't \\u00e9"
    )
    assert mask(text, [Secret(ODD), Secret("hunter2-pässword")]) == text
