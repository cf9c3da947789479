"""Three tool turns with an agent of LangChain. Usage: turns_langchain.py URL KEY MODEL [stream]
[responses].
"""

import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from told import asked, tell

URL, KEY, MODEL = asked()
calls: list[str] = []


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    calls.append(city)
    return f"sunny in {city}"


more: dict[str, Any] = {}
if "responses" in sys.argv:
    more = {"use_responses_api": True, "store": False}
    more["include"] = ["reasoning.encrypted_content"]
model = ChatOpenAI(base_url=f"{URL}/v1", api_key=KEY, model=MODEL, max_retries=0, **more)
agent = create_agent(model, tools=[weather])
asks: Any = {"messages": [{"role": "user", "content": "Weather?"}]}
if "stream" in sys.argv:
    states = [
        s for kind, s in agent.stream(asks, stream_mode=["values", "messages"]) if kind == "values"
    ]
else:
    states = [agent.invoke(asks)]
tell(text=states[-1]["messages"][-1].text, calls=sorted(calls))
