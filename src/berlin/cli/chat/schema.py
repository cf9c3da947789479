"""The JSON Schema that an answer must follow, read from a file and checked before it is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click
import msgspec

from berlin.cli.input_file import read_input, why
from berlin.types import ResponseFormat

_Type: TypeAlias = Literal["array", "boolean", "integer", "null", "number", "object", "string"]


class _Schema(msgspec.Struct, frozen=True, rename="camel"):
    """The keywords of JSON Schema, in every version of it, whose values can be wrong.

    Others are the service's concern: each supports its own selection.
    """

    type: _Type | list[_Type] | msgspec.UnsetType = msgspec.UNSET
    properties: dict[str, _Schema | bool] = {}
    pattern_properties: dict[str, _Schema | bool] = {}
    additional_properties: _Schema | bool = True
    required: list[str] | bool = []
    items: _Schema | bool | list[_Schema | bool] = True
    prefix_items: list[_Schema | bool] = []
    any_of: list[_Schema | bool] = []
    one_of: list[_Schema | bool] = []
    all_of: list[_Schema | bool] = []
    not_: _Schema | bool = msgspec.field(default=True, name="not")
    enum: list[Any] = []
    ref: str = msgspec.field(default="", name="$ref")
    defs: dict[str, _Schema | bool] = msgspec.field(default={}, name="$defs")
    definitions: dict[str, _Schema | bool] = {}
    description: str = ""
    pattern: str = ""
    min_length: float = 0
    max_length: float = 0
    min_items: float = 0
    max_items: float = 0


def read_schema(path: Path) -> ResponseFormat:
    """Return the form of the answer that a file describes. Raises click.UsageError."""
    try:
        schema = json.loads(read_input(path).decode("utf-8-sig"))
        msgspec.convert(schema, _Schema)
    except OSError as error:
        raise click.UsageError(f"--schema {path}: {why(error)}") from error
    except msgspec.ValidationError as error:
        raise click.UsageError(f"--schema {path} is not a JSON Schema: {error}") from error
    except RecursionError as error:
        raise click.UsageError(f"--schema {path} is nested too deeply") from error
    except ValueError as error:
        raise click.UsageError(f"--schema {path} is not JSON: {error}") from error
    return ResponseFormat(json.dumps(schema), path.stem[:64] or "answer", strict=True)
