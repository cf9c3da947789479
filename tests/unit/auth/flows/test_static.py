"""Flows without a login: nothing, an API key, account and password."""

from __future__ import annotations

import base64

import pytest

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.auth.flows.static import ApiKeyMap, BasicMap
from berlin.types import HttpRequest, HttpResponse, Secret


async def never(request: HttpRequest) -> HttpResponse:
    """Be called, which is wrong."""
    raise AssertionError(f"{request} was sent")


async def obtain(described: ApiKeyMap | BasicMap, credentials: Credentials) -> str:
    """Return the token that a flow makes."""
    flow = described.flow()
    assert flow is not None
    assert not flow.asks
    return (await flow.obtain(credentials, never)).token.reveal()


@pytest.mark.parametrize("key", ["sk-1\r\nX: y", "sk\0", "ключ", " sk", "k" * 20_000])
async def test_api_key_that_cannot_be_sent(key: str) -> None:
    """A key that no header can carry is a mistake of the set-up, and is not shown."""
    with pytest.raises(errors.ConfigurationError, match="the API key cannot be sent") as caught:
        await obtain(ApiKeyMap(), Credentials.checked("test", api_key=key))
    assert key not in str(caught.value)


@pytest.mark.parametrize("password", ["p", "with: colon", 'q"\\\n', "пароль 🔑"])
async def test_basic(password: str) -> None:
    """Account and password become the token of RFC 7617, in UTF-8."""
    token = await obtain(BasicMap(), Credentials.of("ann", password))
    assert base64.b64decode(token).decode() == f"ann:{password}"


async def test_basic_account_with_a_colon() -> None:
    """A colon in the account would move the border to the password: it is refused."""
    with pytest.raises(errors.ConfigurationError, match="allows no ':' in the account"):
        await obtain(BasicMap(), Credentials.of("a:b", "p"))


@pytest.mark.parametrize("described", [ApiKeyMap(), BasicMap()])
async def test_nothing_to_renew(described: ApiKeyMap | BasicMap) -> None:
    """What is never issued is never renewed."""
    flow = described.flow()
    assert flow is not None
    assert await flow.renew(Credentials(), Secret("r"), never) is None
