"""A captured request and its response."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.backwards import decode_multipart
from berlin.language.secrets_scan import looks_secret
from berlin.language.values.form import File, decode_form
from berlin.wire.json import decoded_or_none
from berlin.workbench.draft.leaves import texts_in

MAX_HEADER_CHARS = 200

# Headers about the browser, about the HTTP message, and of the login.
LEFT_OUT = re.compile(
    r"(:.*|accept.*|sec-.*|user-agent|origin|referer|host|connection|content-.*|cache-control|dnt"
    r"|pragma|priority|te|upgrade.*|if-.*|keep-alive|transfer-encoding|x-requested-with|expect"
    r"|cookie|authorization|proxy-.*|traceparent|tracestate|baggage|sentry-trace|x-forwarded-.*"
    r"|.*(csrf|xsrf).*)",
    re.IGNORECASE,
)


class Captured(msgspec.Struct, frozen=True):
    """A request that was sent by a browser or by curl.

    Attributes:
        headers: names as written, in order.
        files: the names of fields that would contain files.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise ConfigurationError(
                f"the request has no whole URL with http or https: {self.url[:80]!r}"
            )

    @property
    def origin(self) -> str:
        """Scheme and host of the URL, without user information."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def path(self) -> str:
        """The URL's path."""
        return urlsplit(self.url).path or "/"

    @property
    def query(self) -> dict[str, str]:
        """The URL's parameters."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, by name."""
        # HTTP/2 may send several headers.
        headers = "; ".join(value for name, value in self.headers if name.lower() == "cookie")
        pairs = (pair.partition("=") for pair in headers.split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

    def header(self, name: str) -> str:
        """Return the value of a header; `""` if there is none."""
        return next((value for n, value in self.headers if n.lower() == name), "")

    def document(self) -> tuple[str, Any]:
        """Return the kind of the body and its contents. Raises ConfigurationError.

        The kind is `json`, `form`, `multipart`, `body` for other text, or `""` if there is none.
        """
        if not self.body.strip():
            return "", None
        kind = self.header("content-type").lower()
        try:
            if kind.startswith("multipart/form-data"):
                return "multipart", {
                    name: value for name, value in self._parts() if isinstance(value, str)
                }
            document = decoded_or_none(self.body)
            if isinstance(document, dict):
                return "json", document
            is_other = isinstance(document, list) or re.search(r"json|xml|text/", kind)
            if not is_other and b"=" in self.body:
                return "form", decode_form(self.body)
        except InvalidRequestError as error:
            raise ConfigurationError(f"the request cannot be read: {error.message}") from error
        text = self.body.decode("utf-8", "replace")
        if re.search("[\0-\x08\x0e-\x1f\ufffd]", text):
            raise ConfigurationError(
                "the body is neither JSON nor a form nor text: no recipe can describe it"
            )
        return "body", text

    def file_fields(self) -> tuple[str, ...]:
        """Return the names of fields that are files, or would be."""
        if not self.header("content-type").lower().startswith("multipart/form-data"):
            return self.files
        with contextlib.suppress(InvalidRequestError):
            return (
                *self.files,
                *(name for name, value in self._parts() if isinstance(value, File)),
            )
        return self.files

    def _parts(self) -> Iterable[tuple[str, str | File]]:
        return decode_multipart(self.body, self.header("content-type")).items()

    def texts(self) -> Iterator[str]:
        """Yield the texts that it carries in its path, query and body."""
        yield from (unquote(segment) for segment in self.path.split("/"))
        yield from self.query.values()
        with contextlib.suppress(ConfigurationError):
            yield from texts_in(self.document()[1])


def kept_headers(request: Captured, secrets: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the headers that belong to the service and reveal nothing about the user."""
    return {
        name: value
        for name, value in request.headers
        if not LEFT_OUT.fullmatch(name)
        and not looks_secret(name, value)
        and not any(secret in value for secret in secrets)
        and value.isascii()
        and len(value) <= MAX_HEADER_CHARS
    }


class Frame(msgspec.Struct, frozen=True):
    """A message on a WebSocket."""

    is_sent: bool
    data: str


class Exchange(msgspec.Struct, frozen=True):
    """A request and its answer.

    Attributes:
        status: its HTTP status.
        headers: its headers, names in lower case; repeated names are all kept.
        frames: the messages, if it opened a WebSocket.
        socket: the table `[chat.socket]`, if it is a chat on one.
        names: the placeholders of the values that earlier messages on it issued.
    """

    request: Captured
    answer: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    frames: tuple[Frame, ...] = ()
    socket: dict[str, Any] | None = None
    names: dict[str, str] = {}

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets."""
        lines = (value for name, value in self.headers if name.lower() == "set-cookie")
        pairs = (line.split(";")[0].partition("=") for value in lines for line in value.split("\n"))
        return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}

    def document(self) -> Any:
        """Return the JSON of the answer; `None` if it is not JSON."""
        return decoded_or_none(self.answer)


def split_head(text: bytes) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """Return the status and the headers before an answer, as `curl -i` prints them, and it."""
    status = 200
    head: tuple[tuple[str, str], ...] = ()
    body = text
    while body.startswith(b"HTTP/"):
        lines, _, body = body.replace(b"\r\n", b"\n").partition(b"\n\n")
        first, *rest = lines.decode("utf-8", "replace").split("\n")
        words = first.split()
        status = int(words[1]) if len(words) > 1 and words[1].isdecimal() else status
        pairs = (line.partition(":") for line in rest)
        head = tuple((name.strip(), value.strip()) for name, _, value in pairs)
    return status, head, body
