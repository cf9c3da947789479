"""What the programs of this folder share: what they ask, and how they tell what they got."""

import json
import sys
from collections.abc import Callable
from typing import Any

PROMPT = "Hello"
TOOL = "weather"
SAYS = "The weather of a city"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
}

# Whether the model behind the URL is offered tools: services that take only text refuse them.
HAS_TOOLS = "text-only" not in sys.argv


def asked() -> tuple[str, str, str]:
    """The URL (without `/v1`), the key and the model of the command line."""
    url, key, model = sys.argv[1:4]
    return url, key, model


def raised(call: Callable[[], Any]) -> str:
    """The name of what a call raises and the status it carries, such as `NotFoundError 404`."""
    try:
        call()
    except Exception as error:
        status = getattr(error, "status_code", None)
        return " ".join(str(part) for part in (type(error).__name__, status) if part)
    return "nothing"


def tell(**got: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(got))
