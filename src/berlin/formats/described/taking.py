"""Takes the values that a recipe wants from a response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from berlin.errors import BerlinError, ProtocolError
from berlin.language.step import CompiledStep, read_object
from berlin.language.values.place import Place
from berlin.types import HttpResponse
from berlin.wire.pointer import MISSING

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
