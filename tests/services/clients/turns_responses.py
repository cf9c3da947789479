"""Three tool turns over the Responses API, without anything kept by the server, by OpenAI's client.
Usage: turns_responses.py URL KEY MODEL [stream].
"""

import json
import sys
from typing import Any

import openai
from told import CITY, SAYS, TOOL, asked, tell

URL, KEY, MODEL = asked()
TOOLS: list[Any] = [{"type": "function", "name": TOOL, "description": SAYS, "parameters": CITY}]
items: list[Any] = [{"role": "user", "content": "Weather?"}]
calls: list[str] = []


def turn(api: openai.OpenAI) -> Any:
    asks: Any = {"model": MODEL, "input": items, "tools": TOOLS, "store": False}
    asks["include"] = ["reasoning.encrypted_content"]
    if "stream" not in sys.argv:
        return api.responses.create(**asks)
    with api.responses.stream(**asks) as events:
        return events.get_final_response()


with openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
    while True:
        answer = turn(api)
        items += answer.output
        asked_for = [item for item in answer.output if item.type == "function_call"]
        if not asked_for:
            break
        for call in asked_for:
            city = json.loads(call.arguments)["city"]
            calls.append(city)
            result = {"type": "function_call_output", "call_id": call.call_id}
            items.append({**result, "output": f"sunny in {city}"})
    tell(text=answer.output_text, calls=calls)
