"""The service that needs no setup: the guide behind a real login, over HTTP on loopback."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from berlin.client import Berlin
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.chat import Gateway
from berlin.gateway.serving.server import open_server
from berlin.providers.guide import GuideProvider
from berlin.types import Secret


@asynccontextmanager
async def open_embedded(model: str = "") -> AsyncIterator[tuple[Berlin, str]]:
    """Start the service with a temporary account, and yield a provider that uses it."""
    account, password = "guest", Secret(secrets.token_urlsafe(16))
    accounts = Accounts()
    accounts.add(account, password)
    async with (
        open_server(Gateway.of(GuideProvider(), "guide"), accounts, grace_s=0) as url,
        Berlin(url, account, password) as berlin,
    ):
        yield berlin, model
