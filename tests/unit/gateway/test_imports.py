"""What a gateway imports: memory that every process of it has."""

from __future__ import annotations

import subprocess
import sys

from berlin.gateway import web

# Each is imported where a configuration asks for it.
LIBRARIES = {
    *("alembic", "aiosqlite", "asyncpg", "sqlalchemy", "sqlite3.dump"),
    *("cryptography", "jwt", "keyring", "opentelemetry", "prometheus_client", "redis"),
    *(
        "aiohttp.web",
        "aiohttp.web_app",
        "argparse",
        "aiohttp_socks",
        "httpx",
        "importlib.metadata",
        "jsonschema_rs",
        "pydantic",
        "rich",
    ),
}
OWN = {
    "berlin.config.models.routes",
    "berlin.gateway.access.issuers",
    "berlin.gateway.observe.ledger",
    "berlin.gateway.observe.log",
    "berlin.gateway.observe.metrics",
    "berlin.gateway.observe.telemetry",
    "berlin.gateway.stored.redis",
    "berlin.gateway.workers.parent",
    "berlin.ledger.writer",
    "berlin.providers.guide",
    "berlin.routing.counters.redis",
    "berlin.routing.shared",
}
CODE = """
import sys
import msgspec
from berlin.cli.gateway import serve
from berlin.config import Config
from berlin.gateway.setup import build_gateway
provider = {"url": "http://127.0.0.1:9", "account": "me", "password": {"env": "PATH"}}
config = {"providers": {"plain": provider}, "server": {"metrics": False}}
build_gateway(msgspec.convert(config, Config), None)
print(*sys.modules)
"""


def test_a_plain_gateway_imports_nothing_that_it_does_not_use() -> None:
    """With one provider and nothing else, no library and no room of another setting is loaded."""
    loaded = subprocess.run(
        [sys.executable, "-c", CODE], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert "berlin.gateway.app" in loaded
    assert sorted((LIBRARIES | OWN) & set(loaded)) == []


def test_the_members_of_a_request_are_known_to_the_library() -> None:
    """In the development mode of Python the library warns of every other one, for each request."""
    assert web.Request.__annotations__.keys() <= web.Request.ATTRS
