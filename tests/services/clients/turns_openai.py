"""Three tool turns with OpenAI's Python client. Usage: turns_openai.py URL KEY MODEL [stream]."""

import json
import sys
from typing import Any

import openai
from told import CITY, SAYS, TOOL, asked, tell

URL, KEY, MODEL = asked()
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": TOOL, "description": SAYS, "parameters": CITY}}
]
messages: list[Any] = [{"role": "user", "content": "Weather?"}]
calls: list[str] = []


def turn(api: openai.OpenAI) -> Any:
    asks: Any = {"model": MODEL, "messages": messages, "tools": TOOLS}
    if "stream" not in sys.argv:
        return api.chat.completions.create(**asks).choices[0].message
    with api.chat.completions.stream(**asks) as events:
        return events.get_final_completion().choices[0].message


with openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
    while (message := turn(api)).tool_calls:
        messages.append(message)
        for call in message.tool_calls:
            city = json.loads(call.function.arguments)["city"]
            calls.append(city)
            result = {"role": "tool", "tool_call_id": call.id, "content": f"sunny in {city}"}
            messages.append(result)
    tell(text=message.content, calls=calls)
