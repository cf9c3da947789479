"""Writes the list prices that ship with Berlin, from the data of genai-prices: `make prices`.

Kept are prices of tokens of vendors that Berlin has a recipe for. What Berlin has no word for (a
price for each request, for audio, by the time of the day) is left out, because a price that is
partly known is wrong.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from genai_prices import types
from genai_prices.data import providers

FILE = Path(__file__).parents[1] / "src/berlin/config/tables/list_prices.json"
VENDORS = {
    **{name: name for name in ("anthropic", "cohere", "deepseek", "groq", "mistral", "openai")},
    **{name: name for name in ("azure", "cloudflare", "databricks")},
    "bedrock": "aws",
    "gemini": "google",
}
NAMES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "output_reasoning_mtok": "reasoning",
}
# Of tokens that a request of text does not have, and of searches by the service.
OTHER_KINDS = ("audio", "image", "video", "searches", "_1h_", "_5m_")


def patterns(match: Any) -> Iterator[str]:
    """Give the patterns of Berlin for what a model is matched by."""
    match match:
        case types.ClauseEquals():
            yield match.equals
        case types.ClauseStartsWith():
            yield f"{match.starts_with}*"
        case types.ClauseEndsWith():
            yield f"*{match.ends_with}"
        case types.ClauseContains():
            yield f"*{match.contains}*"
        case types.ClauseOr():
            for each in match.or_:
                yield from patterns(each)
        case _:  # an expression, or two conditions at the same time
            return


def prices(found: Any) -> list[dict[str, str | int]] | None:
    """Return the prices of a model over time and length; `None` if they cannot be said."""
    conditional = found if isinstance(found, list) else [types.ConditionalPrice(prices=found)]
    told: list[dict[str, str | int]] = []
    for one in conditional:
        match one.constraint:
            case None:
                since = {}
            case types.StartDateConstraint(start_date=datetime.date() as start):
                since = {"since": start.isoformat()}
            case _:
                return None
        given = {key: value for key, value in vars(one.prices).items() if value is not None}
        unknown = [k for k in given if k not in NAMES and not any(o in k for o in OTHER_KINDS)]
        if unknown or not {"input_mtok", "output_mtok"} <= given.keys():
            return None
        told += [{**since, **length} for length in _by_length(given)]
    keys = [(one.get("since"), one.get("over")) for one in told]
    return told if len(set(keys)) == len(keys) else None


def _by_length(given: dict[str, Any]) -> Iterator[dict[str, str | int]]:
    tiered = [value for value in given.values() if isinstance(value, types.TieredPrices)]
    for over in sorted({0, *(tier.start for value in tiered for tier in value.tiers)}):
        yield {
            **({"over": over} if over else {}),
            **{NAMES[key]: _at(value, over) for key, value in given.items() if key in NAMES},
        }


def _at(value: Any, over: int) -> str:
    if isinstance(value, types.TieredPrices):
        reached = [tier.price for tier in value.tiers if tier.start <= over]
        value = reached[-1] if reached else value.base
    return f"{Decimal(value).normalize():f}"


def _lines(value: Any, depth: int = 0) -> str:
    """Return JSON with a line for each model."""
    if not isinstance(value, dict) or depth == 3:
        return json.dumps(value, ensure_ascii=False)
    members = [f"{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in sorted(value.items())]
    return "{\n" + ",\n".join(members) + "\n}" + "\n" * (not depth)


def main() -> None:
    """Write the file."""
    source = distribution("genai-prices")
    [licence] = [file for file in source.files or () if file.name == "LICENSE"]
    by_id = {provider.id: provider for provider in providers}
    vendors: dict[str, dict[str, Any]] = {}
    for name, id in VENDORS.items():
        known = vendors[name] = {}
        for model in by_id[id].models:
            told = prices(model.prices)
            for pattern in patterns(model.match) if told else ():
                known.setdefault(pattern, told)
    content = {
        "source": f"genai-prices {source.version}",
        "license": licence.read_text(),
        "vendors": vendors,
    }
    FILE.write_text(_lines(content), "utf-8")
    print({name: len(known) for name, known in vendors.items()}, file=sys.stderr)


if __name__ == "__main__":
    main()
