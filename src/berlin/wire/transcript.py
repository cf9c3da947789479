"""A transcript: requests and responses without secrets, to be replayed without a network."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from berlin.errors import ConfigurationError, ProtocolError
from berlin.types import HttpRequest, HttpResponse, Secret
from berlin.wire.json import DECODE_ERRORS

HIDDEN = "***"
_BASE64 = "base64:"
# Ids that are new for each request.
_FRESH = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request and its answer. Bodies are stored as lines, with their line ends.

    Attributes:
        path: as the recipe has it: below the endpoint's URL, or a whole URL.
        query: parameters of the URL.
        headers: the request headers that belong to the service, not to HTTP.
        status: the answer's status.
        answer_headers: the relevant ones, in lower case.
        cookies: the cookies that the answer sets.
    """

    method: str
    path: str
    status: int
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: list[str] = []
    answer_headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    answer: list[str] = []

    @classmethod
    def of(cls, request: HttpRequest, answer: HttpResponse) -> Turn:
        """Return the turn of a request and its whole answer, secrets hidden."""
        return cls(
            request.method,
            request.path,
            answer.status,
            _hide(request.query),
            _hide(request.headers),
            _lines(request.body),
            dict(answer.headers),
            dict.fromkeys(answer.cookies, HIDDEN),
            _lines(answer.body),
        )

    @property
    def answer_body(self) -> bytes:
        """The answer's body as bytes."""
        return _bytes(self.answer)

    def check(self, request: HttpRequest) -> None:
        """Compare a request with the one that was recorded.

        Raises:
            ProtocolError: if it differs; ids that are always new and hidden values are ignored.
        """
        was, now = f"{self.method} {self.path}", f"{request.method} {request.path}"
        if _FRESH.sub(HIDDEN, was) != _FRESH.sub(HIDDEN, now):
            raise ProtocolError(f"the transcript continues with {was}, but {now} was sent")
        was_body, now_body = _document(_bytes(self.body)), _document(request.body)
        if not _is_same(was_body, now_body):
            raise ProtocolError(
                f"the body sent to {request.path} differs from the transcript: "
                f"{str(now_body)[:300]} instead of {str(was_body)[:300]}"
            )


class Transcript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that one prompt caused.

    Attributes:
        transcript: version of this file format.
        recipe: name of a shipped recipe, or the lines of one.
        source: where it comes from: a page of the vendor and its date, or `recorded`.
        messages: the messages of the request.
        turns: the requests and answers, in order.
        text: the resulting answer.
        options: the options that were given.
        finish_reason: why the answer ended.
        input_tokens: the prompt tokens reported by the service.
        output_tokens: the completion tokens reported by the service.
    """

    transcript: Literal[1]
    recipe: str | list[str]
    source: str
    messages: list[dict[str, Any]]
    turns: list[Turn]
    text: str
    model: str = ""
    options: dict[str, Any] = {}
    reasoning: str = ""
    finish_reason: str = "stop"
    input_tokens: int | None = None
    output_tokens: int | None = None


def decode_transcript(data: bytes, source: str) -> Transcript:
    """Return the transcript in a file's bytes. Raises ConfigurationError."""
    try:
        return msgspec.json.decode(data, type=Transcript)
    except DECODE_ERRORS as error:
        raise ConfigurationError(f"{source} is not a transcript: {error}") from error


def encode_transcript(transcript: Transcript) -> bytes:
    """Return the bytes of a transcript's file."""
    return msgspec.json.format(msgspec.json.encode(transcript), indent=1) + b"\n"


def _hide(values: Mapping[str, str | Secret]) -> dict[str, str]:
    return {n: HIDDEN if isinstance(v, Secret) else v for n, v in values.items()}


def _lines(body: bytes) -> list[str]:
    try:
        return body.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return [_BASE64 + base64.b64encode(body).decode()]


def _bytes(lines: list[str]) -> bytes:
    if len(lines) == 1 and lines[0].startswith(_BASE64):
        try:
            return base64.b64decode(lines[0].removeprefix(_BASE64), validate=True)
        except binascii.Error as error:
            raise ConfigurationError("the transcript contains invalid base64") from error
    return "".join(lines).encode()


def _document(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except DECODE_ERRORS:
        return body.decode("utf-8", "replace")


def _is_same(was: Any, now: Any) -> bool:
    match was:
        case dict() if isinstance(now, dict) and was.keys() == now.keys():
            return all(_is_same(value, now[name]) for name, value in was.items())
        case list() if isinstance(now, list) and len(was) == len(now):
            return all(map(_is_same, was, now))
        case str() if isinstance(now, str):
            pieces = (re.escape(piece) for piece in _FRESH.sub(HIDDEN, was).split(HIDDEN))
            return re.fullmatch(".*".join(pieces), now, re.DOTALL) is not None
        case _:
            return bool(was == now)
