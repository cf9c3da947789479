"""Follows values from the responses that issued them to the requests that carry them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from berlin.errors import BerlinError
from berlin.wire.html import field_with, find_script_json, is_page, meta_with
from berlin.workbench.draft.keys import LEAST_CHARS
from berlin.workbench.draft.leaves import json_in, last_name, leaves, pointer
from berlin.workbench.draft.sources.captured import Captured, Exchange

CSRF = re.compile(r".*(csrf|xsrf|authenticity|requestverification).*", re.IGNORECASE)
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Form members issued by the page: CSRF tokens, and ids of the form itself.
_GIVEN = re.compile(
    r".*(csrf|xsrf|authenticity|nonce|requestverification|form_?build|execution).*|lt|_token|state",
    re.IGNORECASE,
)
_ID_NAME = re.compile(
    r"(.*(id|ids|token|ticket|nonce|key|hash|session|code|event|handle|ref|channel|slug|job|task"
    r"|thread|run|url|uri|location|cursor))?"
)
_SETTING = re.compile(r"v\d+(\.\d+)*|\d{4}-\d\d-\d\d|[\d.]+|.*(gpt|llama|claude|gemini|mistral).*")
_ASSIGNED = re.compile(r"([\w$-]{1,64})[\"'\]]{0,2}\s{0,4}[=:]\s{0,4}$")


class Carried(NamedTuple):
    """A value that a request carries.

    Attributes:
        name: the name of the member, header or parameter; `""` in the path.
        value: the value, as text.
    """

    name: str
    value: str


class Issued:
    """Everything that the responses of a session issued."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = exchanges
        self._places: dict[int, dict[str, Any]] = {}

    def find(
        self, carried: Carried, before: int, origins: frozenset[str]
    ) -> tuple[int, Any] | None:
        """Return the latest exchange before another that issued a value, and the value's place."""
        for at in reversed(range(before)):
            exchange = self._exchanges[at]
            place = self._place(at, exchange, carried.value)
            is_known = place is not None and exchange.request.origin in origins
            if is_known and _is_likely(carried, place, exchange):
                return at, place
        return None

    def _place(self, at: int, exchange: Exchange, value: str) -> Any:
        if at not in self._places:
            self._places[at] = dict(_places_in(exchange))
        if value in self._places[at] or not is_page(exchange.answer):
            return self._places[at].get(value)
        return _place_in_page(exchange.answer.decode("utf-8", "replace"), value)


def _places_in(exchange: Exchange) -> Iterator[tuple[str, Any]]:
    """Yield the values in JSON, headers and cookies with their places, the best place last."""
    for place, value in reversed([*leaves(exchange.document())]):
        if place and _is_plain(value):
            yield str(value), pointer(place)
    for name, given in exchange.headers:
        if name.lower() == "location":
            for parameter, value in parse_qsl(urlsplit(given).query):
                yield value, {"header": name, "parameter": parameter}
        elif name.lower() != "set-cookie":
            yield given, {"header": name}
    for name, given in exchange.cookies.items():
        yield unquote(given), {"cookie": name, "decode": "url"}
        yield given, {"cookie": name}


class Chain:
    """Follows values back to the responses that issued them, and those of these requests in turn.

    Args:
        ignored: values that are not links, such as the prompt.

    Attributes:
        names: the values that were followed, each with the name of its placeholder.
        taken: for each exchange that is needed, the names of its values and their places.
        lost: CSRF tokens that no response issued, and their names.
        in_login: the exchanges that are part of the login.
    """

    def __init__(
        self, exchanges: Sequence[Exchange], ignored: frozenset[str] = frozenset()
    ) -> None:
        self.names: dict[str, str] = {}
        self.taken: dict[int, dict[str, Any]] = {}
        self.lost: dict[str, str] = {}
        self.in_login: set[int] = set()
        self._exchanges = exchanges
        self._ignored = ignored
        self._issued = Issued(exchanges)
        self._origins: frozenset[str] = frozenset()

    def know(self, value: str, name: str) -> None:
        """Set the placeholder of a value whose source is known."""
        self.names[value] = name

    def follow(self, at: int) -> None:
        """Follow the values that an exchange's request carries."""
        todo = [at]
        done: set[int] = set()
        while todo:
            at = todo.pop()
            if at in done:
                continue
            done.add(at)
            request = self._exchanges[at].request
            self._origins |= {request.origin}
            for carried in carried_by(request):
                if carried.value in self.names or carried.value in self._ignored:
                    continue
                source = self._issued.find(carried, at, self._origins)
                if source is not None:
                    self.names[carried.value] = self._take(carried, *source)
                    todo.append(source[0])
                elif CSRF.fullmatch(carried.name) and carried.value:
                    self.lost[carried.value] = carried.name

    def _take(self, carried: Carried, at: int, place: Any) -> str:
        is_link = isinstance(place, str)
        if is_mark(carried.name) or not is_link:
            base = "csrf" if is_mark(carried.name) else "value"
        else:
            base = f"made_{re.sub(r'[^a-z0-9]+', '_', last_name((*place.split('/'),)))}"
        name = free_name(base, set(self.names.values()))
        self.taken.setdefault(at, {})[name] = place
        return name


def carried_by(request: Captured) -> Iterator[Carried]:
    """Yield the values in a request that a response may have issued."""
    for segment in request.path.split("/"):
        yield Carried("", unquote(segment))
    yield Carried("url", request.url)
    yield Carried("url", request.url.removeprefix(request.origin))
    for name, value in request.query.items():
        yield Carried(name, value)
    for name, value in request.headers:
        if name.lower() != "cookie":
            yield Carried(name, value)
            yield Carried(name, value.rpartition(" ")[2])
    try:
        _, document = request.document()
    except BerlinError:
        return
    yield from carried_in(document)


def carried_in(document: Any) -> Iterator[Carried]:
    """Yield the values in a body or a message."""
    for place, value in leaves(document):
        if place and _is_plain(value):
            yield Carried(str(place[-1]), str(value))
        if place and isinstance(value, str) and (inner := json_in(value)) is not None:
            yield from carried_in(inner)


def free_name(base: str, used: set[str]) -> str:
    """Return a name for a placeholder that no other has."""
    names = (base, *(f"{base}_{n}" for n in range(2, 999)))
    return next(name for name in names if name not in used)


def is_mark(name: str) -> bool:
    """Return whether a member or header is one whose value a page issues, such as a CSRF token."""
    return _GIVEN.fullmatch(name) is not None


def made_by_client(carriers: Iterable[Iterable[Carried]]) -> dict[str, str]:
    """Return the ids in several requests or messages, which the client made, with their names."""
    seen: dict[str, str] = {}
    found: dict[str, str] = {}
    for carrier in carriers:
        mine = links_in(carrier)
        found |= {value: name for value, name in mine.items() if value in seen}
        seen |= mine
    return found


def links_in(carrier: Iterable[Carried]) -> dict[str, str]:
    """Return the ids in a request or message, each with its name."""
    return {value: name for name, value in carrier if name and is_link(name, value)}


def is_link(name: str, value: str) -> bool:
    """Return whether a value looks like an id that one message issues and another carries."""
    return (
        bool(_ID_NAME.fullmatch(last_name((name,))))
        and bool(re.search(r"\d|-", value))
        and len(value) >= LEAST_CHARS
        and not _SETTING.fullmatch(value.lower())
    )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _place_in_page(page: str, value: str) -> Any:
    if field := field_with(page, value):
        return {"field": field}
    if meta := meta_with(page, value):
        return {"meta": meta}
    for mark in "\"'":
        before, found, _ = page.partition(f"{mark}{value}{mark}")
        named = _ASSIGNED.search(before[-80:]) if found else None
        if named and find_script_json(page, named[1]) == value:
            return {"script": named[1]}
    return None


def _is_likely(carried: Carried, place: Any, exchange: Exchange) -> bool:
    """Whether a value found in both was really taken from there, and is no setting or number."""
    name, value = carried
    if is_mark(name):
        return len(value) > LEAST_CHARS
    issued_as = last_name(tuple(str(place).split("/"))) if isinstance(place, str) else "token"
    if not _ID_NAME.fullmatch(issued_as):
        return False
    if value.isdecimal():
        # A row's number: only where a request has just made it.
        is_id = bool(_ID_NAME.fullmatch(last_name((name,))))
        return is_id and exchange.request.method != "GET" and issued_as.endswith("id")
    return is_link(name, value)
