"""A Gradio chat with a login, as its own documentation builds one: run by `.venv-services`.

Usage: python gradio_program.py
It prints its URL when it answers. The answer grows word by word, so each item of its stream holds
all the text so far. A word `fail` ends it with a message, `crash` with none.
"""

import os
import socket
import threading
from collections.abc import Iterator

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr


def reply(message: str, history: list[dict[str, object]]) -> Iterator[str]:
    """Say which turn this is and echo the message."""
    text = f"Turn {len(history) // 2 + 1}:"
    yield text
    for word in message.split():
        if word == "fail":
            raise gr.Error("the model broke")
        if word == "crash":
            raise ValueError("a secret of the app")
        text = f"{text} {word}"
        yield text


reserved = socket.socket()  # nobody else gets the port, but a server can listen on it
reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
reserved.bind(("127.0.0.1", 0))
port = reserved.getsockname()[1]
gr.ChatInterface(reply, api_name="chat").launch(
    server_name="127.0.0.1",
    server_port=port,
    auth=("ann", "secret"),
    quiet=True,
    prevent_thread_lock=True,
)
print(f"http://127.0.0.1:{port}", flush=True)
threading.Event().wait()
