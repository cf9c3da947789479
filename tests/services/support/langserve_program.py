"""A LangServe chain behind a key: it echoes the last message. Run by the tests of services.

Its answer begins with the number of messages; a word `fail` breaks it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langserve import add_routes
from pydantic import BaseModel

KEY = "key-of-the-tests"


class Input(BaseModel):
    """What the chain takes, as LangServe's documentation has it for chats."""

    messages: list[HumanMessage | AIMessage | SystemMessage]


def check(x_api_key: Annotated[str, Header()] = "") -> None:
    """Let in who has the key."""
    if x_api_key != KEY:
        raise HTTPException(401, "no such key")


def echo(prompt: Any) -> Any:
    """Return a model that says the last message."""
    messages = prompt.to_messages()
    if "fail" in messages[-1].content:
        raise ValueError("the model broke")
    said = AIMessage(f"Turn {len(messages)}: {messages[-1].content}")
    return GenericFakeChatModel(messages=iter([said]))


app = FastAPI()
prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("messages")])
chain = prompt | RunnableLambda(echo)
add_routes(app, chain.with_types(input_type=Input), path="/chat", dependencies=[Depends(check)])


async def main() -> None:
    """Serve on a free port, and print the URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/chat", file=sys.__stdout__, flush=True)
    await serving


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # LangServe greets
        asyncio.run(main())
