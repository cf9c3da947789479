"""One request that a recipe describes, and what is taken out of its answer.

Logins, the preparation of a chat and the chat itself are made of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError, ProtocolError
from berlin.language.form import FORM, decode_form, encode_form, encode_multipart
from berlin.language.template import ABSENT, Template
from berlin.types import HttpRequest, HttpResponse, Secret, fits_header
from berlin.wire.json import DECODE_ERRORS, decode_request_object, encode_body
from berlin.wire.pointer import MISSING, get_at, parse_pointer, set_at
from berlin.wire.snippet import snippet


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value stands in an answer, if not in its JSON: `{ header = "…" }` and the like.

    Attributes:
        header: name of a header.
        cookie: name of a cookie; `"*"` takes all that the steps set, as one Cookie header.
    """

    header: str = ""
    cookie: str = ""

    def __post_init__(self) -> None:
        if bool(self.header) == bool(self.cookie):
            raise ValueError("a place needs exactly one of header and cookie")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request: a table `[[auth.steps]]`, `[[auth.refresh]]` or `[[chat.prepare]]`.

    Attributes:
        path: below the endpoint's URL, or a whole URL; may hold placeholders.
        method: the HTTP method.
        query: parameters of the URL, with placeholders.
        json: the body as JSON with placeholders.
        form: the body as a form with placeholders.
        multipart: the body as multipart fields with placeholders.
        headers: headers with placeholders.
        take: names of values and where they stand: a JSON Pointer, a header or a cookie. Every
            name is a placeholder of what comes later. In a login Berlin knows the meaning of
            `token`, `refresh_token`, `expires_in`, `expires_in_ms` and `expires_at`.
    """

    path: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    query: dict[str, str] = {}
    json: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    multipart: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    take: dict[str, str | Place] = {}


class CompiledStep:
    """A step, ready for use.

    Args:
        step: the description.
        names: the placeholders that may stand in it.
        accept: the content type that is asked for.

    Attributes:
        used: the placeholders that do stand in it.
        pointers: those values that are taken out of JSON, and where they stand.
        body: the template of the body, whatever its encoding.

    Raises:
        ConfigurationError: if the description cannot be right.
    """

    def __init__(self, step: Step, names: Iterable[str], accept: str = "application/json") -> None:
        known = frozenset(names)
        bodies = [kind for kind in ("json", "form", "multipart") if getattr(step, kind) is not None]
        if len(bodies) > 1:
            raise ConfigurationError(
                f"the step {step.path} has both {' and '.join(bodies)}; keep one"
            )
        self.step = step
        self.encoding = bodies[0] if bodies else ""
        self.body = Template(getattr(step, bodies[0]), known) if bodies else None
        self._headers = Template(step.headers, known)
        self._path = Template(step.path, known)
        self._query = Template(step.query, known)
        self._accept = accept
        if step.path and not step.path.startswith("/") and not _WHOLE_URL.match(step.path):
            # Behind the base URL it would be a part of the host's name.
            raise ConfigurationError(f"the path {step.path!r} must begin with a slash")
        for name, value in step.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not fits_header(value):
                raise ConfigurationError(f"the header {name!r} cannot be sent")
        if self.encoding in ("form", "multipart"):
            _check_fields(getattr(step, self.encoding))
        if "://" in step.path and "{" in "/".join(step.path.split("/")[:3]):
            raise ConfigurationError(f"the host of {step.path} must be written out")
        parts = (self._headers, self._path, self._query, *((self.body,) if self.body else ()))
        self.used = {name for part in parts for name in part.names}
        self.pointers = {
            name: parse_pointer(place)
            for name, place in step.take.items()
            if isinstance(place, str)
        }

    def document(self, values: Mapping[str, Any]) -> Any:
        """Return the body before it is encoded, `None` without one."""
        return None if self.body is None else self.body.render(values)

    def request(
        self, values: Mapping[str, Any], cookies: Mapping[str, str], document: Any = None
    ) -> HttpRequest:
        """Return the request.

        Args:
            values: what stands for the placeholders.
            cookies: what earlier steps set.
            document: the body, if it is not just that of the template.

        Raises:
            InvalidRequestError: if a value cannot be sent. Nothing was sent.
        """
        headers: dict[str, str | Secret] = {"Accept": self._accept}
        body = b""
        if self.body is not None:
            rendered = self.document(values) if document is None else document
            match self.encoding:
                case "json":
                    body, headers["Content-Type"] = encode_body(rendered), "application/json"
                case "form":
                    body, headers["Content-Type"] = encode_form(rendered), FORM
                case _:
                    body, headers["Content-Type"] = encode_multipart(rendered)
        for name, value in self._headers.render(values).items():
            text = str(value)
            _check_text(text, f"the header {name}")
            if not fits_header(text):
                raise InvalidRequestError(
                    f"the header {name} would hold a line break or a control character; "
                    "nothing was sent"
                )
            headers[name] = Secret(text)
        if cookies:
            headers["Cookie"] = Secret("; ".join(f"{n}={v}" for n, v in cookies.items()))
        query: dict[str, str | Secret] = {}
        for name, value in self._query.render(values).items():
            _check_text(str(value), f"the parameter {name}")
            query[name] = Secret(str(value))
        return HttpRequest(self.step.method, self._fill_path(values), headers, query, body)

    def parse(self, body: bytes) -> dict[str, Any]:
        """Return the values in a body that a client of the service sent.

        Raises:
            InvalidRequestError: if it is not what the template says.
        """
        if self.body is None:
            return {}
        read = decode_form if self.encoding == "form" else decode_request_object
        return self.body.parse(read(body))

    def take(
        self, response: HttpResponse, document: Any, cookies: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the values that stand in an answer; `MISSING` for those that do not.

        Args:
            response: the answer.
            document: its JSON.
            cookies: what all steps so far have set.
        """
        taken: dict[str, Any] = {}
        for name, place in self.step.take.items():
            if isinstance(place, str):
                taken[name] = get_at(document, self.pointers[name])
            elif place.header:
                taken[name] = response.headers.get(place.header.lower(), MISSING)
            elif place.cookie == "*":
                taken[name] = "; ".join(f"{n}={v}" for n, v in cookies.items()) or MISSING
            else:
                taken[name] = cookies.get(place.cookie, MISSING)
        return taken

    def answer(self, values: Mapping[str, Any]) -> HttpResponse:
        """Return an answer in which `take` finds these values: the step from the other end."""
        document: dict[str, Any] = {}
        headers: dict[str, str] = {}
        cookies: dict[str, str] = {}
        for name, place in self.step.take.items():
            if isinstance(place, str):
                set_at(document, self.pointers[name], values[name])
            elif place.header:
                headers[place.header.lower()] = str(values[name])
            else:
                cookies["session" if place.cookie == "*" else place.cookie] = str(values[name])
        return HttpResponse(200, headers, cookies, encode_body(document))

    def _fill_path(self, values: Mapping[str, Any]) -> str:
        if not self._path.names:
            return self.step.path
        # A value stays one segment, whatever it holds.
        quoted = {
            name: ABSENT if values[name] is ABSENT else _quote(str(values[name]))
            for name in self._path.names
        }
        path = str(self._path.render(quoted))
        if any(part in (".", "..") for part in path.split("/")):
            # Encoded dots mean the same to a server: the request would go to another place.
            raise InvalidRequestError("a part of the URL would be '.' or '..'; nothing was sent")
        return path


def compile_steps(steps: Iterable[Step], names: Iterable[str]) -> list[CompiledStep]:
    """Return steps of which each knows the names that those before it take.

    Raises:
        ConfigurationError: if a description cannot be right.
    """
    known = set(names)
    compiled = []
    for step in steps:
        compiled.append(CompiledStep(step, known))
        known |= set(step.take)
    return compiled


def read_object(body: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that an answer is. Raises ProtocolError."""
    got = f"got {snippet(body)!r}"
    try:
        document = msgspec.json.decode(body)
    except DECODE_ERRORS as error:
        raise ProtocolError(f"the answer to {where}: expected JSON, {got}") from error
    if not isinstance(document, dict):
        raise ProtocolError(f"the answer to {where}: expected a JSON object, {got}")
    return document


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_WHOLE_URL = re.compile(r"https?://")


def _check_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigurationError(f"{name}: a form carries text and numbers only")
        if value == "{messages}":
            raise ConfigurationError(f"{name}: a form carries no list of messages")


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{where} would hold half of a surrogate pair") from error


def _quote(value: str) -> str:
    try:
        return quote(value, safe="")
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a part of the URL holds half of a surrogate pair") from error
