"""One request that a recipe describes, and the values taken from its answer.

Logins, the preparation of a chat and the chat itself are made of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError, ProtocolError
from berlin.language.values.form import FORM, File, decode_form, encode_form, encode_multipart
from berlin.language.values.functions import MADE
from berlin.language.values.header import HeaderTemplate
from berlin.language.values.place import Answer, Place
from berlin.language.values.template import Template
from berlin.language.values.text import Call, Value, as_text, parse_text, render_text
from berlin.types import HttpRequest, HttpResponse, Secret, fits_header
from berlin.wire.json import DECODE_ERRORS, decode_request_object, encode_body, has_many_values
from berlin.wire.pointer import get_at, parse_pointer, set_at
from berlin.wire.snippet import snippet


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request: a table `[[auth.steps]]`, `[[auth.refresh]]` or `[[chat.prepare]]`.

    Attributes:
        path: below the endpoint's URL, or an absolute URL; may contain placeholders.
        method: the HTTP method.
        query: parameters of the URL, with placeholders.
        json: the body as JSON with placeholders.
        form: the body as a form with placeholders.
        multipart: the body as multipart fields with placeholders.
        body: the body as text with placeholders; in an upload, `{file}` is the bytes of the file.
        headers: headers with placeholders.
        take: names of values and where they are: a JSON Pointer, or a place such as a header,
            a cookie or a form field. Every name is a placeholder in later requests. In a login,
            these names have a meaning: `token`, `refresh_token`, `expires_in`, `expires_in_ms` and
            `expires_at`.
        success: the statuses that mean success; by default 200 to 299. A browser login often
            answers 302.
        refused_at: text in a redirect URL that means the login was refused, such as `/login?error`.
        follow: whether a redirect is followed, by GET, to a URL of the same origin.
        once: in `[[chat.prepare]]`: whether to skip it when the request names a conversation that
            the service keeps; it takes `conversation_id`.
        credentials: whether the login's credentials are attached. A presigned URL takes none.
    """

    path: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    query: dict[str, str] = {}
    json: dict[str, Any] | None = None
    form: dict[str, Any] | None = None
    multipart: dict[str, Any] | None = None
    body: str | None = None
    headers: dict[str, str] = {}
    take: dict[str, str | Place] = {}
    success: tuple[int, ...] = ()
    refused_at: str = ""
    follow: bool = False
    once: bool = False
    credentials: bool = True

    def __post_init__(self) -> None:
        if any(not 200 <= status <= 399 for status in self.success):
            raise ValueError("success: statuses from 200 to 399 only")
        if self.success and 200 in self.success and self.refused_at:
            raise ValueError("refused_at belongs to a step whose success is a redirect")
        if self.once and "conversation_id" not in self.take:
            raise ValueError("a step with `once` takes the conversation_id that later chats name")


class CompiledStep:
    """A step, ready for use. Raises ConfigurationError.

    Args:
        names: the placeholders that may be used in it.
        found: the names whose values come from answers; such a value may be a URL.

    Attributes:
        used: the placeholders that are used in it.
        pointers: the values taken from JSON, and where they are.
        body: the template of the body, whatever its encoding.
    """

    def __init__(
        self,
        step: Step,
        names: Iterable[str],
        accept: str = "application/json",
        found: frozenset[str] = frozenset(),
    ) -> None:
        known = frozenset(names)
        bodies = [kind for kind in BODIES if getattr(step, kind) is not None]
        if len(bodies) > 1:
            raise ConfigurationError(
                f"the step {step.path} has both {' and '.join(bodies)}; keep one"
            )
        self.step = step
        self.encoding = bodies[0] if bodies else ""
        self.body = Template(getattr(step, bodies[0]), known) if bodies else None
        # Headers are filled last, so that a signature can cover the rest of the request.
        self._headers = Template(step.headers, known | SIGNED)
        trusted = found | SESSION_NAMES
        parts_of = (HeaderTemplate(name, text, trusted) for name, text in step.headers.items())
        self._header_parts = [header for header in parts_of if header]
        self._path = Template(step.path, known)
        self.follows = _begins_with(step.path, found)
        self._path_pieces = parse_text(step.path)
        self._has_fixed_path = all(isinstance(piece, str) for piece in self._path_pieces)
        self._fixed_path = ""  # once it was made
        self._query = Template(step.query, known)
        self._accept = accept
        if (
            step.path
            and not step.path.startswith("/")
            and not _WHOLE_URL.match(step.path)
            and not self.follows
        ):
            # Appended to the base URL it would become part of the host name.
            raise ConfigurationError(f"the path {step.path!r} must begin with a slash")
        for name, value in step.headers.items():
            # The argument of a function, such as the lines to sign, is not sent as it is.
            literal = "".join(piece for piece in parse_text(value) if isinstance(piece, str))
            if not _HEADER_NAME.fullmatch(name) or not fits_header(literal):
                raise ConfigurationError(f"the header {name!r} cannot be sent")
            if name.lower() in _FRAMING:
                raise ConfigurationError(f"the header {name} belongs to HTTP itself; leave it out")
        if self.encoding in ("form", "multipart"):
            _check_fields(getattr(step, self.encoding))
        if "://" in step.path and "{" in "/".join(step.path.split("/")[:3]):
            raise ConfigurationError(f"the host of {step.path} must be written out")
        parts = (self._headers, self._path, self._query, *((self.body,) if self.body else ()))
        self.used = {name for part in parts for name in part.names} - SIGNED
        self.pointers = {
            name: parse_pointer(place)
            for name, place in step.take.items()
            if isinstance(place, str)
        }
        self.needs_json = bool(self.pointers) or any(
            isinstance(place, Place) and place.pointer for place in step.take.values()
        )

    def document(self, values: Mapping[str, Any]) -> Any:
        """Return the body before it is encoded, `None` without one."""
        return None if self.body is None else self.body.render(values)

    def request(
        self, values: Mapping[str, Any], cookies: Mapping[str, str], document: Any = None
    ) -> HttpRequest:
        """Return the request.

        Args:
            cookies: cookies that earlier steps set.
            document: the body, if it differs from the template's.

        Raises:
            InvalidRequestError: if a value cannot be sent. Nothing was sent.
        """
        headers: dict[str, str | Secret] = {"Accept": self._accept}
        path = self._fill_path(values)
        body = b""
        if self.body is not None:
            rendered = self.document(values) if document is None else document
            match self.encoding:
                case "json":
                    body, headers["Content-Type"] = encode_body(rendered), "application/json"
                case "form":
                    body, headers["Content-Type"] = encode_form(rendered), FORM
                case "multipart":
                    body, headers["Content-Type"] = encode_multipart(rendered)
                case _:
                    body, headers["Content-Type"] = _raw(rendered)
        query: dict[str, str | Secret] = {}
        if self.step.query:
            for name, value in self._query.render(values).items():
                query[name] = Secret(_checked(value, f"the parameter {name}"))
        signed = {"method": self.step.method, "path": path, "body": body}
        for header in self._header_parts:
            header.check(values)
        given = self._headers.render({**values, **signed}) if self.step.headers else {}
        for name, value in given.items():
            text = _checked(value, f"the header {name}")
            if not fits_header(text):
                raise InvalidRequestError(
                    f"the header {name} would contain a line break or a control character; "
                    "nothing was sent"
                )
            if name.lower() == "content-type":
                headers["Content-Type"] = text
            else:
                headers[name] = Secret(text)
        if cookies:
            headers["Cookie"] = Secret("; ".join(f"{n}={v}" for n, v in cookies.items()))
        return HttpRequest(
            self.step.method,
            path,
            headers,
            query,
            body,
            is_found=bool(self.follows),
            success=self.step.success,
            credentials=self.step.credentials,
        )

    def parse(self, body: bytes) -> dict[str, Any]:
        """Return the values in a body that a client of the service sent.

        Raises:
            InvalidRequestError: if it is not what the template says.
        """
        if self.body is None:
            return {}
        if self.encoding == "body":
            return self.body.parse(body.decode("utf-8", "replace"))
        read = decode_form if self.encoding == "form" else decode_request_object
        return self.body.parse(read(body))

    def take(
        self, response: HttpResponse, document: Any, cookies: Mapping[str, str]
    ) -> dict[str, Any]:
        """Return the values in an answer; `MISSING` for those it lacks.

        Args:
            cookies: cookies set by the steps so far.
        """
        return {
            name: (
                get_at(document, self.pointers[name])
                if isinstance(place, str)
                else place.find(response, document, cookies)
            )
            for name, place in self.step.take.items()
        }

    def answer(self, values: Mapping[str, Any]) -> HttpResponse:
        """Return an answer in which `take` finds these values: the step in reverse."""
        answer = Answer()
        for name, place in self.step.take.items():
            if isinstance(place, str):
                set_at(answer.document, self.pointers[name], values[name])
            else:
                place.put(values[name], answer)
        body = encode_body(answer.document)
        if answer.page and not answer.document:
            answer.headers["content-type"] = "text/html; charset=utf-8"
            body = f"<!doctype html>\n<title>A fake</title>\n{answer.page}".encode()
        status = (self.step.success or (200,))[0]
        if 300 <= status < 400:
            answer.headers.setdefault("location", "/")
        return HttpResponse(status, answer.headers, answer.cookies, body)

    def _fill_path(self, values: Mapping[str, Any]) -> str:
        if self._fixed_path:
            return self._fixed_path
        # A value stays one segment, whatever it holds; a URL from an answer stays a URL.
        path = "".join(
            piece
            if isinstance(piece, str)
            else as_text(values[piece.name])
            if isinstance(piece, Value) and piece.name == self.follows
            else render_text((piece,), values)
            if isinstance(piece, Call) and piece.function == "segments"
            else _quote(render_text((piece,), values))
            for piece in self._path_pieces
        )
        if any(part in (".", "..") for part in path.split("/")):
            # Encoded dots mean the same to a server: the request would go to another path.
            raise InvalidRequestError("a part of the URL would be '.' or '..'; nothing was sent")
        if self._has_fixed_path:
            self._fixed_path = path
        return path


class Let:
    """The table `let`: placeholders whose values are made once, for all requests of a chat.

    Args:
        described: the names, each with the text of its value.
        names: the placeholders that may be used in these texts.

    Attributes:
        names: the new placeholders.
        used: the placeholders that are used in them.

    Raises:
        ConfigurationError: if a name is taken, or a text names another placeholder.
    """

    def __init__(self, described: Mapping[str, str], names: Iterable[str]) -> None:
        known = frozenset(names)
        for name in described:
            if name in known or name in MADE or not _NAME.fullmatch(name):
                raise ConfigurationError(f"let: {name!r} cannot be the name of a new placeholder")
        self._template = Template(dict(described), known)
        self.names = frozenset(described)
        self.used = self._template.names

    def render(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values. Raises InvalidRequestError."""
        rendered: dict[str, Any] = self._template.render(values)
        return rendered


def compile_steps(
    steps: Iterable[Step], names: Iterable[str], found: frozenset[str] = frozenset()
) -> list[CompiledStep]:
    """Compile steps, each of which may use the names taken by those before it.

    Args:
        names: the placeholders that may be used in all of them.
        found: the names whose values come from answers.

    Raises:
        ConfigurationError: if a description is invalid.
    """
    known = set(names)
    compiled = []
    for step in steps:
        compiled.append(CompiledStep(step, known, found=found))
        known |= set(step.take)
        found |= step.take.keys()
    return compiled


def read_object(body: bytes, where: str) -> dict[str, Any]:
    """Return an answer parsed as a JSON object. Raises ProtocolError."""
    got = f"got {snippet(body)!r}"
    if has_many_values(body, MAX_STEP_VALUES):
        raise ProtocolError(f"the answer to {where} has more than {MAX_STEP_VALUES} values")
    try:
        document = msgspec.json.decode(body)
    except DECODE_ERRORS as error:
        raise ProtocolError(f"the answer to {where}: expected JSON, {got}") from error
    if not isinstance(document, dict):
        raise ProtocolError(f"the answer to {where}: expected a JSON object, {got}")
    return document


MAX_STEP_VALUES = 50_000
"""The most values in the JSON of a login or a step."""

SESSION_NAMES = frozenset({"token", "account", "api_key", "client_id", "client_secret"})
"""The values of a login that a chat may use in any flow, besides those that the login took."""

BODIES = ("json", "form", "multipart", "body")
"""The keys of a step that say what its body is."""

SIGNED = frozenset({"method", "path", "body"})
"""Placeholders allowed only in headers: the finished rest of the request."""


def _begins_with(path: str, names: frozenset[str]) -> str:
    """Return the name a path begins with, whose value is a URL from an answer; else `""`."""
    first = next(iter(parse_text(path)), "")
    return first.name if isinstance(first, Value) and first.name in names else ""


_NAME = re.compile(r"[a-z0-9_]{1,40}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_WHOLE_URL = re.compile(r"https?://")


def _check_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ConfigurationError(f"{name}: a form carries text and numbers only")
        if value == "{messages}":
            raise ConfigurationError(f"{name}: a form carries no list of messages")


def _raw(rendered: Any) -> tuple[bytes, str]:
    """Return a body that is a file or text, and its content type."""
    if isinstance(rendered, File):
        return rendered.data, rendered.media_type
    return _checked(rendered, "the body").encode(), "text/plain; charset=utf-8"


def _checked(value: Any, where: str) -> str:
    """Return a value as text that can be sent. Raises InvalidRequestError."""
    text = as_text(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{where} would contain half of a surrogate pair") from error
    return text


def _quote(value: str) -> str:
    try:
        return quote(value, safe="")
    except UnicodeEncodeError as error:
        raise InvalidRequestError("a part of the URL contains half of a surrogate pair") from error
