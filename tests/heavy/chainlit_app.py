"""A Chainlit chat with a password login, as its documentation builds one.

A word `fail` ends the answer with an error, `whole` sends it in one piece, `two` as two messages.
"""

import chainlit as cl


@cl.password_auth_callback
def log_in(username: str, password: str) -> cl.User | None:
    """Let ann in."""
    return cl.User(identifier=username) if (username, password) == ("ann", "secret") else None


@cl.on_message
async def answer(message: cl.Message) -> None:
    """Echo the message."""
    words = message.content.split()
    if "fail" in words:
        raise ValueError("the model broke")
    if "whole" in words:
        await cl.Message(content="all at once").send()
        return
    if "two" in words:
        await cl.Message(content="one").send()
        await cl.Message(content="two").send()
        return
    said = cl.Message(content="")
    for piece in ("You said:", *(f" {word}" for word in words)):
        await said.stream_token(piece)
    await said.send()
