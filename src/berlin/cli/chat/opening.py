"""Opens the provider for a model's name."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from berlin.cli.terminal import say
from berlin.errors import ConfigurationError
from berlin.providers.facade import ChatProvider

if TYPE_CHECKING:
    from berlin.config import Config

EMBEDDED = "embedded"

GUIDE_NOTICE = (
    "berlin: this is the built-in guide, not a model. "
    "To use a real service: berlin add https://your.service"
)


class Opened(NamedTuple):
    """An opened provider.

    Attributes:
        model: its own name for the model; `""` is its default.
        label: both, as a user writes them.
    """

    provider: ChatProvider
    model: str
    label: str


Opening: TypeAlias = AbstractAsyncContextManager[Opened]

Load: TypeAlias = Callable[[], Opening]
"""Does the slow imports for a provider and returns a function that opens it."""


def find(model: str, config: Config) -> Load:
    """Return the loader of the provider for a model's name.

    Raises:
        ModelNotFoundError: if there is none; the message suggests the nearest name.
    """
    from berlin.config import default_provider, model_names

    name, _, rest = model.partition(":")
    nothing_named = not model and default_provider(config) is None
    if nothing_named and config.providers:
        raise ConfigurationError(
            "there is no default provider: name one with -m, or write into berlin.toml "
            f'default = "{next(iter(config.providers))}". There are: {", ".join(config.providers)}'
        )
    if name == EMBEDDED or nothing_named:
        say(GUIDE_NOTICE)
        return partial(open_embedded, rest)
    target = model_names(config).resolve(model)
    return partial(_named, target.provider, target.model, config)


@asynccontextmanager
async def open_embedded(model: str = "") -> AsyncIterator[Opened]:
    """Serve the guide on loopback behind a real login, and open a provider that uses it."""
    from berlin.client import Berlin
    from berlin.gateway.access.accounts import Accounts
    from berlin.gateway.chat import Gateway
    from berlin.gateway.serving.server import open_server
    from berlin.providers.guide import GuideProvider
    from berlin.types import Secret

    account, password = "guest", Secret(secrets.token_urlsafe(16))
    accounts = Accounts()
    accounts.add(account, password)
    async with (
        open_server(Gateway.of(GuideProvider(), "guide"), accounts, grace_s=0) as url,
        Berlin(url, account, password) as berlin,
    ):
        yield Opened(berlin, model, EMBEDDED)


def _named(name: str, model: str, config: Config) -> Opening:
    from berlin.opening import open_provider

    return nullcontext(Opened(open_provider(name, config), model, f"{name}:{model}".rstrip(":")))
