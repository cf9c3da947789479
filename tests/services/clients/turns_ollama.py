"""Three tool turns with Ollama's Python client. Usage: turns_ollama.py URL KEY MODEL [stream]."""

import sys
from typing import Any

import ollama
from told import CITY, SAYS, TOOL, asked, tell

URL, KEY, MODEL = asked()
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": TOOL, "description": SAYS, "parameters": CITY}}
]
messages: list[Any] = [{"role": "user", "content": "Weather?"}]
calls: list[str] = []
api = ollama.Client(host=URL, headers={"Authorization": f"Bearer {KEY}"})


def turn() -> dict[str, Any]:
    asks: Any = {"model": MODEL, "messages": messages, "tools": TOOLS, "think": True}
    if "stream" not in sys.argv:
        return dict(api.chat(**asks).message)
    whole: dict[str, Any] = {"role": "assistant", "content": "", "thinking": "", "tool_calls": []}
    for part in api.chat(stream=True, **asks):
        whole["content"] += part.message.content or ""
        whole["thinking"] += part.message.thinking or ""
        whole["tool_calls"] += part.message.tool_calls or []
    return whole


while (message := turn()).get("tool_calls"):
    messages.append(message)
    for call in message["tool_calls"]:
        city = call.function.arguments["city"]
        calls.append(city)
        result = {"role": "tool", "tool_name": call.function.name}
        messages.append({**result, "content": f"sunny in {city}"})
tell(text=message["content"], calls=calls)
