"""Uses the public surface with types; mypy checks it in its strict mode, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from berlin import (
    AsyncGeneratorProvider,
    AsyncResult,
    Berlin,
    BerlinError,
    ChatProvider,
    ChatRequest,
    ChatResponse,
    Conversation,
    Finished,
    ImagePart,
    Message,
    Messages,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    TextPart,
    Timeouts,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageReport,
    errors,
)


@dataclass
class City:
    name: str
    people: int


class Shout(ChatProvider):
    async def bursts(self, request: ChatRequest) -> AsyncGenerator[list[StreamEvent]]:
        yield [TextDelta(request.messages[-1].text.upper()), Finished()]


def open_all() -> list[ChatProvider]:
    return [
        Berlin("work", timeout=10, max_retries=1, headers={"X-Team": "blue"}),
        Berlin("work:deep", timeout=Timeouts(total=60)),
        Berlin(recipe="openai", api_key="k", model="m"),
        Berlin("https://chat.example.com", "account", "password", proxy="http://proxy:1"),
        Shout(),
    ]


async def ask(provider: ChatProvider) -> City:
    messages: list[Message | dict[str, Any]] = [
        Message("user", (TextPart("look"), ImagePart("https://a.example/x.png"))),
        Message("assistant", (ToolCallPart("1", "find", "{}"),)),
        Message("tool", (ToolResultPart("1", "42"),)),
        {"role": "user", "content": "so?"},
    ]
    answer: ChatResponse = await provider.ask(
        messages,
        model="m",
        system="Be brief.",
        tools=[Tool("find"), {"type": "function", "function": {"name": "other"}}],
        tool_choice="find",
        response_format=City,
        timeout={"idle": 5},
        temperature=0,
    )
    usage: Usage | None = answer.usage
    city: City = answer.parsed
    print(answer.text, usage, answer.finish_reason, answer.reasoning, answer.tool_calls)
    return city


async def stream(provider: ChatProvider) -> None:
    async for piece in provider.text("Hello", temperature=0.5):
        print(piece.upper())
    async for event in provider.stream(ChatRequest.of("Hello", timeout=5)):
        match event:
            case TextDelta(text=text) | ReasoningDelta(text=text):
                print(text)
            case ToolCallDelta(name=name):
                print(name)
            case UsageReport(usage=usage):
                print(usage.input_tokens)
            case Finished(reason=reason):
                print(reason)


async def converse(berlin: Berlin) -> str:
    chat: Conversation = berlin.conversation(system="Be brief.", temperature=0)
    try:
        answer = await chat.ask("one")
        async for piece in chat.text("two"):
            print(piece)
    except errors.RateLimitError as error:
        print(error.retry_after)
    except BerlinError as error:
        print(error.message, error.provider, error.status)
    else:
        return answer.text + chat.conversation_id
    models: tuple[str, ...] = await berlin.models()
    await berlin.check()
    await berlin.aclose()
    return models[0] + berlin.url + berlin.default_model


def block(berlin: Berlin) -> str:
    return berlin.ask_sync("Hello").text + "".join(berlin.text_sync("Hello"))


async def of_the_class() -> None:
    kind: type[AsyncGeneratorProvider] = Berlin
    messages: Messages = [{"role": "user", "content": "Hello"}]
    pieces: AsyncResult = kind.create_async_generator("gpt-3.5-turbo", messages, None, seed=1)
    async for piece in pieces:
        print(piece)
    print(Berlin.url, Berlin.working, Berlin.supports_gpt_35_turbo, Berlin._token)
