"""Reads a HAR file, as saved by the network tab of a browser."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus, urlencode

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.language.values.form import encode_multipart
from berlin.wire.framings.contract import MAX_DOCUMENT_BYTES
from berlin.wire.json import DECODE_ERRORS
from berlin.workbench.draft.leaves import without_null
from berlin.workbench.draft.sources.captured import Captured, Exchange, Frame

_GZIP = b"\x1f\x8b"
_FORM = "application/x-www-form-urlencoded"


class _Pair(msgspec.Struct):
    name: str = ""
    value: str = ""


class _Param(_Pair):
    """A field of a form; a file has a name of its own."""

    file_name: str = msgspec.field(default="", name="fileName")


class _PostData(msgspec.Struct, rename="camel"):
    text: str | None = None
    params: list[_Param] = []
    mime_type: str = ""


class _Request(msgspec.Struct, rename="camel"):
    method: str
    url: str
    headers: list[_Pair] = []
    cookies: list[_Pair] = []
    post_data: _PostData = msgspec.field(default_factory=_PostData)


class _Content(msgspec.Struct):
    text: str = ""
    encoding: str = ""


class _Response(msgspec.Struct):
    status: int = 0
    headers: list[_Pair] = []
    content: _Content = msgspec.field(default_factory=_Content)


class _Message(msgspec.Struct):
    """A message on a WebSocket, as Chrome and Firefox save it."""

    type: str = ""
    opcode: int = 1
    data: str = ""


class _Entry(msgspec.Struct):
    request: _Request
    response: _Response = msgspec.field(default_factory=_Response)
    messages: list[_Message] = msgspec.field(default_factory=list, name="_webSocketMessages")


def read_har(data: bytes) -> list[Exchange]:
    """Return the requests and answers of a HAR file, in order. Raises ConfigurationError.

    Of a file that was cut off, the entries before the cut are read. Requests of a scheme other than
    HTTP, such as `data:` and `chrome-extension:`, are left out.
    """
    exchanges = []
    for entry in _entries(data.removeprefix(b"\xef\xbb\xbf")):
        # Exporters write null where they know nothing.
        with contextlib.suppress(BerlinError, msgspec.ValidationError):
            exchanges.append(_exchange(msgspec.convert(without_null(entry), _Entry)))
    return exchanges


def is_without_secrets(exchanges: list[Exchange]) -> bool:
    """Whether a file has no cookie and no token, as some browsers save it by default."""
    names = {
        name.lower()
        for exchange in exchanges
        for name, _ in (*exchange.request.headers, *exchange.headers)
    }
    return bool(exchanges) and not names & {"cookie", "set-cookie", "authorization"}


def _entries(data: bytes) -> list[Any]:
    try:
        return msgspec.convert(msgspec.json.decode(data)["log"]["entries"], list[Any])
    except (*DECODE_ERRORS, KeyError, TypeError) as error:
        if whole := list(_whole_entries(data.decode("utf-8", "replace"))):
            return whole
        raise ConfigurationError(
            f"this is not a HAR file ({error}): save one in the network tab of the browser"
        ) from error


def _whole_entries(text: str) -> Iterator[Any]:
    """Yield the entries before the place where a file was cut off."""
    begun = re.search(r'"entries"\s*+:\s*+\[', text)
    read, at = json.JSONDecoder().raw_decode, begun.end() if begun else len(text)
    with contextlib.suppress(ValueError, RecursionError):
        while True:
            while text[at : at + 1] in tuple(" \t\r\n,"):
                at += 1
            entry, at = read(text, at)
            yield entry


def _exchange(entry: _Entry) -> Exchange:
    request, response, posted = entry.request, entry.response, entry.request.post_data
    headers = [(pair.name, pair.value) for pair in request.headers if not pair.name.startswith(":")]
    names = {name.lower() for name, _ in headers}
    if posted.mime_type and "content-type" not in names:
        headers.append(("Content-Type", posted.mime_type))
    if request.cookies and "cookie" not in names:
        headers.append(("Cookie", "; ".join(f"{c.name}={c.value}" for c in request.cookies)))
    body = (posted.text or "").encode("utf-8", "replace")
    fields = {pair.name: pair.value for pair in posted.params if not pair.file_name}
    files = tuple(pair.name for pair in posted.params if pair.file_name)
    if posted.text is None and posted.mime_type.startswith(_FORM):
        # Chrome leaves them encoded, Firefox does not.
        body = urlencode({unquote_plus(n): unquote_plus(v) for n, v in fields.items()}).encode()
    elif posted.text is None and fields:
        body, kind = encode_multipart(fields)
        headers = [h for h in headers if h[0].lower() != "content-type"]
        headers.append(("Content-Type", kind))
    return Exchange(
        Captured(
            request.method.upper(), re.sub("^ws", "http", request.url), tuple(headers), body, files
        ),
        _body(response.content),
        response.status,
        tuple((pair.name, pair.value) for pair in response.headers),
        tuple(Frame(m.type == "send", m.data) for m in entry.messages if m.opcode == 1),
    )


def _body(content: _Content) -> bytes:
    if content.encoding != "base64":
        return content.text.encode("utf-8", "replace")
    try:
        body = base64.b64decode(content.text)
        # Some proxies save what was sent, without decompressing it.
        is_packed = body.startswith(_GZIP)
        return zlib.decompressobj(31).decompress(body, MAX_DOCUMENT_BYTES) if is_packed else body
    except (ValueError, zlib.error):
        return b""
