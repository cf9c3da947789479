"""Takes the values that a recipe wants from a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berlin.errors import ProtocolError
from berlin.language.step import CompiledStep, read_object
from berlin.language.values.place import Place
from berlin.types import HttpResponse
from berlin.wire.pointer import MISSING


def take(step: CompiledStep, response: HttpResponse, cookies: Mapping[str, str]) -> dict[str, Any]:
    """Return the values found by a preparing step. Raises ProtocolError if something is missing."""
    path = step.step.path
    document = read_object(response.body, path) if step.needs_json else {}
    taken = step.take(response, document, cookies)
    for name, value in taken.items():
        if value is MISSING or value is None:
            place = step.step.take[name]
            where = place.words if isinstance(place, Place) else place
            raise ProtocolError(f"{path} gave no {name} at {where}")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ProtocolError(f"{path} gave a {name} that is neither text nor a number")
    return taken
