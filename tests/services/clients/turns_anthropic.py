"""Three tool turns with thinking, by Anthropic's client. Usage: turns_anthropic.py URL KEY MODEL
[stream].
"""

import sys
from typing import Any

import anthropic
from told import CITY, SAYS, TOOL, asked, tell

URL, KEY, MODEL = asked()
messages: list[Any] = [{"role": "user", "content": "Weather?"}]
calls: list[str] = []


def turn(api: anthropic.Anthropic) -> anthropic.types.Message:
    asks: Any = {
        "model": MODEL,
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "tools": [{"name": TOOL, "description": SAYS, "input_schema": CITY}],
        "messages": messages,
    }
    if "stream" not in sys.argv:
        return api.messages.create(**asks)
    with api.messages.stream(**asks) as events:
        return events.get_final_message()


with anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0) as api:
    while (message := turn(api)).stop_reason == "tool_use":
        results = []
        for block in message.content:
            if block.type == "tool_use":
                city = block.input["city"]
                calls.append(city)
                result = {"type": "tool_result", "tool_use_id": block.id}
                results.append({**result, "content": f"sunny in {city}"})
        messages.append({"role": "assistant", "content": message.content})
        messages.append({"role": "user", "content": results})
    tell(text="".join(b.text for b in message.content if b.type == "text"), calls=calls)
