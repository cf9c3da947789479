"""Reads a dashboard with Grafana's library, in `.venv-services`; prints what the library loses."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Give the paths of what is in one document and not in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from lost(value, after.get(name), f"{path}/{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


register_default_plugins()
given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
read = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
print(json.dumps(list(lost(given, read))))
