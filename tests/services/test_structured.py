"""`response_format=` with models of the real pydantic, which is no dependency of Berlin."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from berlin.errors import BerlinError, ContentFilterError, ProtocolError
from berlin.providers.scripted import ScriptedProvider
from berlin.types import Finished, FinishReason

from .support.programs import PYTHON


@pytest.fixture
def city(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model with others in it, and with one of its own kind."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = PYTHON.parents[1] / "lib" / version / "site-packages"
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    from pydantic import Field, create_model

    street = create_model("Street", name=str, number=(int | None, None))
    inner = create_model("Quarter", name=(str, Field(alias="quarterName")), streets=list[street])
    return create_model("City", name=str, quarters=list[inner])


GOOD = '{"name":"Rome","quarters":[{"quarterName":"Monti","streets":[{"name":"Via"}]}]}'


@pytest.mark.parametrize("text", [GOOD, f"```json\n{GOOD}\n```"])
async def test_a_nested_model_is_the_answer(city: Any, text: str) -> None:
    """`parsed` is a value of the model, and its schema is closed at each level."""
    provider = ScriptedProvider([text, Finished()])
    parsed = (await provider.ask("hi", response_format=city)).parsed
    assert isinstance(parsed, city)
    assert (parsed.quarters[0].name, parsed.quarters[0].streets[0].number) == ("Monti", None)
    asked = provider.requests[-1].response_format
    assert asked is not None
    schema = msgspec.json.decode(asked.schema)
    levels = [schema, *schema["$defs"].values()]
    assert (asked.name, len(levels)) == ("City", 3)
    assert all(level["additionalProperties"] is False for level in levels)


@pytest.mark.parametrize(
    ("text", "reason", "kind", "said"),
    [
        ("{no", "stop", ProtocolError, "Invalid JSON: key must be a string"),
        (GOOD.replace('"Via"', "7"), "stop", ProtocolError, "quarters.0.streets.0.name: Input sh"),
        (GOOD[:20], "length", ProtocolError, "it was cut off at max_tokens"),
        ("I cannot.", "content_filter", ContentFilterError, "the service refused to answer"),
    ],
)
async def test_another_answer_is_an_error_that_says_where(
    city: Any, text: str, reason: FinishReason, kind: type[BerlinError], said: str
) -> None:
    """The message names the member and what is wrong there, and quotes nothing of the answer."""
    with pytest.raises(kind) as caught:
        await ScriptedProvider([text, Finished(reason)]).ask("hi", response_format=city)
    assert said in caught.value.message
    assert "Rome" not in caught.value.message
