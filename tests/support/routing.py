"""Models made of several services, over real sockets: from the text of a configuration.

async with two_services(tmp_path, BAD, GOOD, model='fallback = ["bad:m1", "good:m1"]') as both:
    assert (await both.at.ask(OPENAI, model="smart")).text == "Hello"
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from berlin.config import Config, load_config
from berlin.gateway.chat import Gateway
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.observe.visit import Visit
from berlin.gateway.setup import FACES, build_catalog
from berlin.gateway.streaming import OpenStreams
from berlin.types import Usage
from support.answers import SSE, Said, openai_answer
from support.fault_server import FaultServer, SeenRequest
from support.fault_steps import Script, stream
from support.gateway import RECIPE, At, serve

WORDS = ("One ", "two ", "three ", "four ", "five ", "six.")
GOOD: Script = stream(*openai_answer(Said(WORDS, usage=Usage(11, 6))), headers=(SSE,))

PROVIDER = """
[providers.{name}]
recipe = "{name}.toml"
api_key = "key-of-{name}"
models = ["m1"]
{timeouts}
{more}
"""


TIMEOUTS = "timeouts = { connect = 10, first_event = 10, idle = 10, total = 30 }"


class Seen:
    """An observer that keeps what it sees."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []

    def ended(self, visit: Visit) -> None:
        self.visits.append(visit)

    def close(self) -> None:
        pass


@dataclass
class Services:
    """A gateway over several misbehaving services.

    Attributes:
        at: a client of the gateway.
        servers: the services, by name.
        config: the configuration.
        seen: what the gateway observed.
    """

    at: At
    servers: dict[str, FaultServer]
    config: Config
    seen: Seen

    def asked(self, name: str) -> int:
        """Return how many chats a service got."""
        return len(self.chats(name))

    def chats(self, name: str) -> list[SeenRequest]:
        """Return the chats that a service got."""
        return [one for one in self.servers[name].requests if one.path.endswith("/completions")]


def write_config(
    folder: Path, urls: dict[str, str], model: str, more: str = "", timeouts: str = TIMEOUTS
) -> Config:
    """Write a configuration with a provider for each URL and the model `smart`; return it."""
    text = ""
    for name, url in urls.items():
        recipe = RECIPE.format(name=name, url=url, format="openai-chat")
        (folder / f"{name}.toml").write_text(recipe, "utf-8")
        text += PROVIDER.format(name=name, more=more, timeouts=timeouts)
    path = folder / "berlin.toml"
    path.write_text(f"{text}\n[models.smart]\n{model}\n", "utf-8")
    return load_config(path)


@asynccontextmanager
async def services(
    folder: Path,
    model: str,
    more: str = "",
    keep_alive_s: float = 15.0,
    timeouts: str = TIMEOUTS,
    urls: Mapping[str, str] = {},
    **scripts: list[Script],
) -> AsyncIterator[Services]:
    """Run a gateway with the model `smart` over services that play scripts, and others by URL."""
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(FaultServer(*each))
            for name, each in scripts.items()
        }
        played = {name: f"{server.url}/{token_hex(6)}" for name, server in servers.items()}
        config = write_config(folder, {**urls, **played}, model, more, timeouts)
        catalog, seen = build_catalog(config), Seen()
        gateway = Gateway(
            catalog,
            streams=OpenStreams(keep_alive_s),
            metrics=PrometheusMetrics(catalog.services, FACES),
            observers=[seen],
        )
        at = await stack.enter_async_context(serve(gateway=gateway))
        yield Services(at, servers, config, seen)
