"""LangChain's client of OpenAI. Usage: python use_langchain.py URL KEY MODEL."""

from typing import Any

from langchain_openai import ChatOpenAI
from told import CITY, HAS_TOOLS, PROMPT, SAYS, TOOL, asked, raised, tell

URL, KEY, MODEL = asked()


def chat(**more: Any) -> ChatOpenAI:
    options = {"model": MODEL, "api_key": KEY, "max_retries": 0, "stream_usage": True, **more}
    return ChatOpenAI(base_url=f"{URL}/v1", **options)


def stream() -> dict[str, Any]:
    pieces = list(chat().stream(PROMPT))
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    usage: Any = total.usage_metadata
    return {"text": total.content, "usage": usage and usage["output_tokens"], "pieces": len(pieces)}


whole = chat().invoke(PROMPT)
tool = {"type": "function", "function": {"name": TOOL, "description": SAYS, "parameters": CITY}}
called = chat().bind_tools([tool]).invoke(PROMPT) if HAS_TOOLS else None
tell(
    whole={"text": whole.content, "finish": whole.response_metadata["finish_reason"]},
    stream=stream(),
    tools=called and [[call["name"], call["args"]] for call in called.tool_calls],
    errors={
        "key": raised(lambda: chat(api_key="wrong").invoke(PROMPT)),
        "model": raised(lambda: chat(model="no-such-model").invoke(PROMPT)),
    },
)
