"""The methods that every provider has: what they take, and what becomes of it."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from berlin import (
    BerlinError,
    ChatProvider,
    ChatRequest,
    Fallback,
    Finished,
    Message,
    Retry,
    TextDelta,
)
from berlin.errors import (
    ContentFilterError,
    InvalidRequestError,
    ProtocolError,
    ServiceUnavailableError,
)
from berlin.providers.contract import Burst
from berlin.providers.echo import EchoProvider
from berlin.providers.scripted import ScriptedProvider
from berlin.types import (
    ImagePart,
    ResponseFormat,
    TextPart,
    Timeouts,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
)

FUNCTION = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {}}},
}


class Shout(ChatProvider):
    """The smallest provider there is."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        yield [TextDelta(request.messages[-1].text.upper()), Finished()]


async def test_a_provider_is_one_method() -> None:
    """`bursts` is enough; the rest comes with the base, an end without anything to close too."""
    async with Shout() as provider:
        assert (await provider.ask("hello")).text == "HELLO"
        assert [piece async for piece in provider.text("a")] == ["A"]
        assert [event async for event in provider.stream("a")] == [TextDelta("A"), Finished()]
        assert await provider.models() == ()
        await provider.check()


async def test_a_wrapper_has_the_same_methods() -> None:
    """What is made of providers is asked as they are."""
    inner = ScriptedProvider([ServiceUnavailableError("later")], ["Hello", Finished()])
    wrapped = Retry(inner, jitter=lambda: 0)
    assert (await wrapped.ask("hi", system="Be brief.")).text == "Hello"
    assert len(inner.requests) == 2
    assert await wrapped.conversation().ask("x")


def test_providers_are_composed_from_the_public_names() -> None:
    """`from berlin import Fallback` makes one provider of two, with all methods."""
    broken = ScriptedProvider([ServiceUnavailableError("later")])
    either = Fallback(broken, Retry(Shout()))
    assert either.ask_sync("hello", system="s").text == "HELLO"
    assert list(either.text_sync("a")) == ["A"]
    assert either.conversation().ask_sync("b").text == "B"


async def test_stream_takes_what_ask_takes_or_a_request() -> None:
    """A whole request goes through as it is, and takes nothing beside it."""
    provider = ScriptedProvider()
    request = ChatRequest.of("hi", temperature=1)
    for ask in (provider.stream, provider.text):
        assert [event async for event in ask(request)]
        assert provider.requests[-1] is request
    assert await provider.ask(request)
    with pytest.raises(InvalidRequestError, match="system, seed beside a ChatRequest"):
        await provider.ask(request, system="x", seed=1)
    assert [event async for event in provider.stream("hi", system="s", model="m")]
    assert provider.requests[-1].model == "m"
    assert [m.role for m in provider.requests[-1].messages] == ["system", "user"]


async def test_messages_as_openai_has_them() -> None:
    """Dictionaries with parts, calls and results, and `Message` values between them, are read."""
    provider = ScriptedProvider()
    call = {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    await provider.ask(
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
                ],
            },
            Message.of("assistant", "I see"),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "42"},
            {"role": "user", "content": "so?"},
        ]
    )
    user, between, calls, result, last = provider.requests[-1].messages
    assert user.parts == (TextPart("look"), ImagePart("https://a.example/x.png"))
    assert between == Message.of("assistant", "I see")
    assert calls.parts == (ToolCallPart("1", "find", '{"a":1}'),)
    assert isinstance(result.parts[0], ToolResultPart)
    assert (result.parts[0].id, result.parts[0].content) == ("1", "42")
    assert last.text == "so?"


async def test_an_error_names_the_message() -> None:
    """What cannot be read is named by its place, also between `Message` values."""
    with pytest.raises(InvalidRequestError, match=r"messages\[1\]\.content\[0\]"):
        await EchoProvider().ask(
            [Message.of("user", "a"), {"role": "user", "content": [{"type": "text"}]}]
        )


async def test_tools_are_values_or_dictionaries() -> None:
    """Tools keep their order, whatever their form; a choice names one of them."""
    provider = ScriptedProvider()
    await provider.ask("hi", tools=[Tool("other"), FUNCTION], tool_choice="find")
    asked = provider.requests[-1]
    assert [tool.name for tool in asked.tools] == ["other", "find"]
    assert asked.tool_choice == "find"
    named = {"type": "function", "function": {"name": "other"}}
    await provider.ask("hi", tools=[Tool("other"), FUNCTION], tool_choice=named)
    assert provider.requests[-1].tool_choice == "other"
    for choice in ("finds", {"type": "function"}, 7):
        with pytest.raises(InvalidRequestError, match="tool_choice: must be auto"):
            await provider.ask("hi", tools=[FUNCTION], tool_choice=choice)
    with pytest.raises(InvalidRequestError, match="needs tools"):
        await provider.ask("hi", tool_choice="required")
    with pytest.raises(InvalidRequestError, match=r"tools\[0\]"):
        await provider.ask("hi", tools=[{"type": "function"}])


@dataclass
class City:
    """A value that an answer can be."""

    name: str
    people: int


class Town(msgspec.Struct):
    """Another one, with one of its own kind in it."""

    name: str
    near: list[Town] = []


class Model:
    """What looks like a pydantic model."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"type": "object", "title": "Model"}

    @classmethod
    def model_validate_json(cls, text: str) -> Model:
        return cls(text)


async def test_an_answer_as_a_value() -> None:
    """`response_format` asks for the schema of a type, and `parsed` is a value of it."""
    provider = ScriptedProvider(['{"name":"Berlin",', '"people":4}', Finished()])
    answer = await provider.ask("hi", response_format=City)
    assert answer.parsed == City("Berlin", 4)
    asked = provider.requests[-1].response_format
    assert asked is not None
    schema = msgspec.json.decode(asked.schema)
    assert asked.name == "City"
    assert schema["properties"].keys() == {"name", "people"}
    assert schema["additionalProperties"] is False
    assert (await provider.ask("hi")).parsed is None


async def test_values_of_other_kinds() -> None:
    """A Struct that holds itself, what looks like a pydantic model, a schema, and any JSON."""
    provider = ScriptedProvider(
        ['```json\n{"name":"Berlin","near":[{"name":"Spree"}]}\n```', Finished()]
    )
    assert (await provider.ask("hi", response_format=Town)).parsed == Town(
        "Berlin", [Town("Spree")]
    )
    model = (await provider.ask("hi", response_format=Model)).parsed
    assert isinstance(model, Model)
    assert model.text.startswith('{"name"')
    schema = {"type": "object", "title": "any", "properties": {"name": {"type": "string"}}}
    for wanted in (
        schema,
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        ResponseFormat(),
    ):
        assert (await provider.ask("hi", response_format=wanted)).parsed["name"] == "Berlin"


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ("Sure! Here it is", "stop", "does not match response_format: JSON is malformed"),
        ('{"name":7}', "stop", "Expected `str`, got `int`"),
        ('{"name":"Ber', "length", "it was cut off at max_tokens"),
    ],
)
async def test_an_answer_that_is_no_such_value(text: str, reason: Any, said: str) -> None:
    """An answer of another form is an error that says what is wrong with it."""
    provider = ScriptedProvider([text, Finished(reason)])
    with pytest.raises(ProtocolError, match="does not match response_format") as caught:
        await provider.ask("hi", response_format=City)
    assert said in caught.value.message


async def test_a_refusal_in_place_of_a_value() -> None:
    """An answer that was refused is an error of its own, which is not tried again."""
    provider = ScriptedProvider(["I cannot help with that.", Finished("content_filter")])
    with pytest.raises(ContentFilterError, match="refused to answer"):
        await provider.ask("hi", response_format=City)


async def test_a_type_that_holds_itself() -> None:
    """Its schema is an object at the top, as services require, and closed at each level."""
    provider = ScriptedProvider(['{"name":"Berlin"}', Finished()])
    await provider.ask("hi", response_format=Town)
    asked = provider.requests[-1].response_format
    assert asked is not None
    schema = msgspec.json.decode(asked.schema)
    own = schema["$defs"]["Town"]
    assert (schema["type"], own["additionalProperties"]) == ("object", False)
    assert schema["properties"] == own["properties"]


async def test_calls_in_place_of_a_value() -> None:
    """An answer that calls tools has no value yet, which is no error."""
    call = [ToolCallDelta(0, "1", "find", "{}"), Finished("tool_calls")]
    answer = await ScriptedProvider(call).ask("hi", tools=[FUNCTION], response_format=City)
    assert answer.parsed is None
    assert answer.tool_calls[0].name == "find"


async def test_types_without_a_schema() -> None:
    """A type that JSON cannot carry is refused before anything is sent."""
    provider = ScriptedProvider()
    with pytest.raises(InvalidRequestError, match="has no JSON Schema"):
        await provider.ask("hi", response_format=type("Odd", (), {"__slots__": ()}))
    assert provider.requests == []


async def test_other_arguments_reach_the_request() -> None:
    """Ids of a conversation, limits and options go where they belong; `None` is not given."""
    provider = ScriptedProvider()
    await provider.ask(
        "hi",
        conversation_id="c",
        parent_id="p",
        timeout=5,
        temperature=0.5,
        seed=None,
        stream=True,
        parallel_tool_calls=False,
    )
    asked = provider.requests[-1]
    assert (asked.conversation_id, asked.parent_id) == ("c", "p")
    assert asked.timeouts == Timeouts(5, 5, 5, 5)
    assert asked.options == {"temperature": 0.5}
    assert asked.parallel_tool_calls is False
    for wrong in ({"model": 7}, {"system": 7}, {"conversation_id": 7}, {"timeout": -1}):
        with pytest.raises(InvalidRequestError):
            await provider.ask("hi", **wrong)


def test_text_without_a_loop() -> None:
    """`text_sync` gives the pieces one by one, and closes the answer when it is left."""
    provider = ScriptedProvider(["a", "b", "c", Finished()])
    assert list(provider.text_sync("hi")) == ["a", "b", "c"]
    pieces = provider.text_sync("hi")
    assert next(pieces) == "a"
    pieces.close()
    assert provider.closed == 1
    left = provider.text_sync("hi")
    assert next(left) == "a"
    del left
    gc.collect()
    assert provider.closed == 2
    broken = ScriptedProvider(["a", ServiceUnavailableError("gone")])
    pieces = broken.text_sync("hi")
    assert next(pieces) == "a"
    with pytest.raises(BerlinError, match="gone"):
        next(pieces)


async def test_text_sync_works_inside_a_running_loop() -> None:
    """A notebook runs a loop already; the blocking forms use another one."""
    assert list(EchoProvider().text_sync("one two")) == ["one ", "two"]
