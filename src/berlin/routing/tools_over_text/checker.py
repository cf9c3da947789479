"""Validates a model's output against the JSON Schema it was given."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from berlin.errors import ConfigurationError

if TYPE_CHECKING:
    from jsonschema_rs import Validator

# How many errors are reported, and how much of each: enough to correct them.
MAX_MISTAKES = 4
MAX_MISTAKE_CHARS = 240


class Checked(NamedTuple):
    """Valid JSON text, or what is wrong with the output."""

    text: str
    problem: str = ""


def check_object(text: str, schema: str) -> Checked:
    """Return a JSON object as valid JSON text, if it matches the schema; nothing is repaired.

    A raw line end inside a string, which JSON forbids, is unambiguous: it is accepted and escaped.
    A schema that is itself invalid, or that refers to another document, is not checked: the model
    cannot fix a client's schema.

    Raises:
        ConfigurationError: if the validator package is not installed.
    """
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
        # The same text if it is valid: numbers stay as written.
        text = text if _is_strict(text) else written
    except (ValueError, RecursionError) as error:
        return Checked("", f"it is not valid JSON: {_reason(error)}")
    if not isinstance(value, dict):
        return Checked("", "it is not a JSON object")
    validator = _validator(schema)
    if validator is None:
        return Checked(text)
    mistakes = []
    for mistake in validator.iter_errors(value):
        place = "/".join(map(str, mistake.instance_path))
        said = f"{place}: {mistake.message}" if place else mistake.message
        mistakes.append(said[:MAX_MISTAKE_CHARS])
        if len(mistakes) == MAX_MISTAKES:
            break
    return Checked(text, "; ".join(mistakes))


def require_checker() -> None:
    """Raise ConfigurationError if the validator package is not installed."""
    _validator("true")


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator | None:
    try:
        import jsonschema_rs  # only needed for tools over text
    except ImportError:
        raise ConfigurationError(
            "tools over text need the package jsonschema-rs: pip install 'berlin-llm[tools]'"
        ) from None
    try:
        # Never from the network: otherwise a client could make this machine fetch any URL.
        return jsonschema_rs.validator_for(json.loads(schema), offline=True)
    except (ValueError, RecursionError):
        return None


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _reason(error: Exception) -> str:
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at line {error.lineno}, column {error.colno}"
        case UnicodeEncodeError():
            return "it contains half of a surrogate pair"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)
