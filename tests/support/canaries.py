"""Looks for secrets in each error that a test of the suite expects, and in each line of the log.

A canary is the text of each `Secret` that Berlin makes during a test: passwords, keys, tokens,
proxies' passwords. When a block of `pytest.raises` ends, all that a crash reporter could show of
the error is searched for them, in every form in which they could be written; so are the records of
Berlin's loggers. Nothing is looked for in a test that makes no secret.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

import berlin
from berlin.errors import BerlinError
from berlin.types.secret import Secret

# Shorter ones are found in every other word.
SHORTEST, LONGEST, MOST = 8, 4_096, 40
MAX_SHOWN = 100_000
SOURCES = str(Path(berlin.__file__).parent)
# What users call. Frames below hold secrets in their locals, and end at this boundary.
PUBLIC = (
    *("client.py", "g4f.py", "opening.py", "config", "adapters", "cli", "routing"),
    *("providers/facade", "providers/http", "providers/conversation", "providers/blocking"),
)
# Examples, not secrets: Berlin's own messages contain them.
WORDS = frozenset({"bk-…", "0123456789abcdef"})


class Canaries:
    """The secrets of one test, and what was found of them."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._forms: dict[str, frozenset[str]] = {}
        self.found: list[str] = []

    def plant(self, text: object) -> None:
        """Look for a text from now on, if it is long enough."""
        if not isinstance(text, str) or not SHORTEST <= len(text) <= LONGEST or text.isalpha():
            return
        if "://" in text:  # a proxy: its password is the secret
            password = urlsplit(text).password or ""
            text = unquote(password) if len(password) >= SHORTEST else ""
        if text and text not in WORDS and len(self._secrets) < MOST:
            self._secrets.add(text)

    def clear(self) -> None:
        """Forget all; the next test has secrets of its own."""
        self._secrets.clear()
        self._forms.clear()
        self.found.clear()

    def look(self, where: str, shown: Iterator[str]) -> None:
        """Note each secret that is in what is shown."""
        if not self._secrets:
            return
        text = "\n".join(piece[:MAX_SHOWN] for piece in shown)
        for secret in self._secrets:
            if secret not in self._forms:
                self._forms[secret] = frozenset(forms(secret))
            found = next((form for form in self._forms[secret] if form in text), None)
            if found is not None:
                at = text.index(found)
                self.found.append(f"{where}: {secret!r} in {text[max(0, at - 200) : at + 80]!r}")


def forms(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as URLs, HTML, JSON, hexadecimal and base64 write it."""
    yield from (secret, quote(secret, safe=""), quote_plus(secret), html.escape(secret))
    yield from (json.dumps(secret)[1:-1], repr(secret)[1:-1])
    raw = secret.encode("utf-8", "surrogatepass")
    yield raw.hex()
    for before in range(3):  # what of base64 depends on the secret alone, at each offset
        coded = base64.b64encode(b"\0" * before + raw + b"\0\0")
        inner = coded[-(-8 * before // 6) : (8 * (before + len(raw))) // 6].decode()
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def reported(error: BaseException) -> Iterator[str]:
    """Yield all that a crash reporter shows: messages, causes, and locals where they may be seen.

    The frames of an error that crossed the public surface are searched; one that a test raised
    deep inside holds what the test gave it.
    """
    todo, done = [error], set[int]()
    while todo:
        current = todo.pop()
        if id(current) in done:
            continue
        done.add(id(current))
        todo += [e for e in (current.__cause__, current.__context__) if e is not None]
        if isinstance(current, ExceptionGroup):
            todo += current.exceptions
        if isinstance(current, BerlinError) or current is not error:
            yield from (str(current), repr(current), repr(vars(current)))
        yield from _locals(current)


def _locals(error: BaseException) -> Iterator[str]:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if frame.f_code.co_filename.startswith(SOURCES)]
    if not ours or not _inside(ours[0]).startswith(PUBLIC):
        return
    for frame in ours:
        for value in list(frame.f_locals.values()):
            yield _shown(value)


def _inside(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(SOURCES).lstrip("/")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, list, tuple, dict)) and len(value) > 1_000:
        return ""
    try:
        return repr(value)
    except Exception as error:
        # A half-made object may have no repr; a reporter then shows this.
        return f"repr failed: {type(error).__name__}"


class Watch(logging.Handler):
    """Searches each record of a log."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries

    def emit(self, record: logging.LogRecord) -> None:
        """Search a record, and its error."""
        shown = [record.getMessage()]
        if record.exc_info and record.exc_info[1] is not None:
            shown += traceback.format_exception(record.exc_info[1])
        self._canaries.look(f"log {record.name}", iter(shown))


def install(canaries: Canaries) -> None:
    """Watch every secret that is made, every expected error, and Berlin's log."""
    make = Secret.__init__

    def plant(self: Secret, text: str) -> None:
        canaries.plant(text)
        make(self, text)

    Secret.__init__ = plant
    _watch_raises(canaries)
    logging.getLogger("berlin").addHandler(Watch(canaries))


def _watch_raises(canaries: Canaries) -> None:
    from _pytest.raises import RaisesExc

    leave: Callable[..., bool] = RaisesExc.__exit__

    def look(self: Any, kind: Any, error: BaseException | None, trace: Any) -> bool:
        expected = leave(self, kind, error, trace)
        if expected and error is not None:
            canaries.look("an error", reported(error))
        return expected

    RaisesExc.__exit__ = look
