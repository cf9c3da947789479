"""Sends images and files before the chat that refers to them, and takes values from responses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias

from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError, ProtocolError
from berlin.language.step import CompiledStep, read_object
from berlin.language.tables.parts import (
    CONTENTS,
    FILE_NAMES,
    Kind,
    UploadMap,
    file_values,
    kind_of,
)
from berlin.language.values.form import File
from berlin.language.values.functions import make_values
from berlin.language.values.place import Place
from berlin.language.values.template import ABSENT
from berlin.types import ChatRequest, FilePart, HttpRequest, HttpResponse, ImagePart
from berlin.wire.pointer import MISSING

MAX_UPLOADS = 50
"""Images and files in one request; each causes requests of its own."""

UPLOAD_NAMES = FILE_NAMES | {"file", "size"}

Explain: TypeAlias = Callable[[Any], BerlinError | None]
"""Returns the error that the JSON of a response reports, if it does."""


def take(
    step: CompiledStep, response: HttpResponse, cookies: Mapping[str, str], explain: Explain
) -> dict[str, Any]:
    """Return the values found by a preparing step.

    Raises:
        BerlinError: if something is missing: the error that the service reports, or ProtocolError.
    """
    path = step.step.path
    document = read_object(response.body, path) if step.needs_json else {}
    taken = step.take(response, document, cookies)
    for name, value in taken.items():
        if value is MISSING or value is None:
            reported = explain(document)
            if reported is not None:
                raise reported
            place = step.step.take[name]
            where = place.words if isinstance(place, Place) else place
            raise ProtocolError(f"{path} gave no {name} at {where}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ProtocolError(f"{path} gave a {name} that is neither text nor a number")
    return taken


class Uploads:
    """The uploads that a recipe describes. Raises ConfigurationError.

    Args:
        names: the placeholders that may be used in all of them.
        explain: finds the error in a response that lacks what is taken from it.

    Attributes:
        taken: the names that they take.
        used: the placeholders that they use.
        steps: the requests for one image or file, in order.
    """

    def __init__(self, steps: Sequence[UploadMap], names: frozenset[str], explain: Explain) -> None:
        known = names | UPLOAD_NAMES
        self._explain = explain
        self.steps: list[CompiledStep] = []
        self._kinds: list[tuple[Kind, ...]] = [step.kinds for step in steps]
        self.taken: frozenset[str] = frozenset()
        taken: dict[Kind, frozenset[str]] = {"image": frozenset(), "file": frozenset()}
        for step in steps:
            # Only what an earlier step took for each of these kinds.
            found = frozenset.intersection(*(taken[kind] for kind in step.kinds))
            compiled = CompiledStep(step, known | found, found=found)
            if "file" in compiled.used and step.multipart is None and step.body != "{file}":
                raise ConfigurationError(
                    f"the upload {step.path}: {{file}} is a field of `multipart`, or the whole "
                    "`body`; elsewhere use {base64} or {data_url}"
                )
            for name in step.take:
                if name in known:
                    raise ConfigurationError(f"the upload {step.path} takes {name}, which is taken")
            self.steps.append(compiled)
            self.taken |= frozenset(step.take)
            taken |= {kind: taken[kind] | frozenset(step.take) for kind in step.kinds}
        self.used = {name for step in self.steps for name in step.used} - UPLOAD_NAMES - self.taken

    def run(
        self, request: ChatRequest, values: Mapping[str, Any]
    ) -> Generator[HttpRequest, HttpResponse, dict[str, dict[str, Any]]]:
        """Yield the requests for each image and file, and return what they took, by its URL.

        Raises:
            InvalidRequestError: if there are too many, or one cannot be sent.
            ProtocolError: if a response lacks what is taken from it.
        """
        taken: dict[str, dict[str, Any]] = {}
        if not self.steps:
            return taken
        parts = _parts(request)
        if len(parts) > MAX_UPLOADS:
            raise InvalidRequestError(
                f"{len(parts)} images and files in one request; {MAX_UPLOADS} at most"
            )
        for part in parts:
            mine: dict[str, Any] = {}
            for step, kinds in zip(self.steps, self._kinds, strict=True):
                if kind_of(part) not in kinds:
                    continue
                filled = {**values, **make_values(step.used), **_values(part, step.used), **mine}
                response = yield step.request(filled, {})
                mine |= take(step, response, response.cookies, self._explain)
            taken[part.url] = mine
        return taken


def _parts(request: ChatRequest) -> list[ImagePart | FilePart]:
    """Return the images and files of a request, each once."""
    known = request.known_messages or 0
    begin = known if request.conversation_id else 0
    parts = (part for message in request.messages[begin:] for part in message.parts)
    found = {p.url: p for p in parts if isinstance(p, ImagePart | FilePart)}
    return list(found.values())


def _values(part: ImagePart | FilePart, used: set[str]) -> dict[str, Any]:
    values = {**dict.fromkeys(UPLOAD_NAMES, ABSENT), **file_values(part, used & CONTENTS)}
    if "file" in used:
        data = base64.b64decode(values["base64"])
        values["file"] = File(values["name"], values["media_type"], data)
    return values
