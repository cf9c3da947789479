"""Reads a HAR file, as saved by the network tab of a browser."""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.wire.json import DECODE_ERRORS
from berlin.workbench.draft.sources.captured import Captured, Exchange, Frame


class _Pair(msgspec.Struct):
    name: str = ""
    value: str = ""


class _PostData(msgspec.Struct, rename="camel"):
    text: str | None = None
    params: list[_Pair] | None = None
    mime_type: str = ""


class _Request(msgspec.Struct, rename="camel"):
    method: str
    url: str
    headers: list[_Pair] = []
    post_data: _PostData | None = None


class _Content(msgspec.Struct, rename="camel"):
    text: str | None = None
    encoding: str | None = None


class _Response(msgspec.Struct):
    status: int = 0
    headers: list[_Pair] = []
    content: _Content | None = None


class _Message(msgspec.Struct):
    """A message on a WebSocket, as Chrome and Firefox save it."""

    type: str = ""
    opcode: int = 1
    data: str = ""


class _Entry(msgspec.Struct):
    request: _Request
    response: _Response
    messages: list[_Message] = msgspec.field(default_factory=list, name="_webSocketMessages")


class _Log(msgspec.Struct):
    entries: list[_Entry]


class _Har(msgspec.Struct):
    log: _Log


def read_har(data: bytes) -> list[Exchange]:
    """Return the requests and answers of a HAR file, in order.

    Raises:
        ConfigurationError: if it is not a HAR file.
    """
    try:
        har = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=_Har)
    except DECODE_ERRORS as error:
        raise ConfigurationError(
            f"this is not a HAR file ({error}): save one in the network tab of the browser"
        ) from error
    exchanges = []
    for entry in har.log.entries:
        try:
            exchanges.append(_exchange(entry))
        except BerlinError:
            continue  # of a scheme other than HTTP, such as `data:` and `chrome-extension:`
    return exchanges


def is_without_secrets(exchanges: list[Exchange]) -> bool:
    """Whether a file has no cookie and no token, as some browsers save it by default."""
    names = {
        name.lower()
        for exchange in exchanges
        for name, _ in (*exchange.request.headers, *exchange.headers)
    }
    return bool(exchanges) and not names & {"cookie", "set-cookie", "authorization"}


def _exchange(entry: _Entry) -> Exchange:
    request, response = entry.request, entry.response
    posted = request.post_data or _PostData()
    headers = [(pair.name, pair.value) for pair in request.headers if not pair.name.startswith(":")]
    if posted.mime_type and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", posted.mime_type))
    fields: tuple[tuple[str, str], ...] = ()
    if posted.text is None and posted.params:
        fields = tuple((pair.name, pair.value) for pair in posted.params)
    return Exchange(
        Captured(
            request.method.upper(),
            re.sub("^ws", "http", request.url),
            tuple(headers),
            (posted.text or "").encode("utf-8", "replace"),
            fields,
        ),
        _body(response.content or _Content()),
        response.status,
        tuple((pair.name, pair.value) for pair in response.headers),
        tuple(Frame(m.type == "send", m.data) for m in entry.messages if m.opcode == 1),
    )


def _body(content: _Content) -> bytes:
    text = content.text or ""
    if content.encoding != "base64":
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""
