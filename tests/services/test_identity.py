"""Logins at an OpenID provider that other people wrote: node-oidc-provider, which is certified."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin import errors
from berlin.client import Berlin
from support.oauth_service import provider

from .support.identity import Identity, PersonWithForms


def auth(identity: Identity, grant: str, *lines: str) -> str:
    """Return a table `[auth]`: the issuer is enough."""
    first = f'[auth]\nflow = "oauth2"\ngrant = "{grant}"\nissuer = "{identity.url}"\n'
    return first + "".join(f"{line}\n" for line in lines)


async def _renewed(identity: Identity, berlin: Berlin) -> None:
    """Check that tokens are good, and that the refresh token rotates without a person."""
    tokens = [str(await berlin.token())]
    for _ in range(2):
        berlin.reject_token(tokens[-1])
        tokens.append(str(await berlin.token()))
    assert len(set(tokens)) == 3
    for token in tokens:
        found = await identity.describe(token)
        assert (found["active"], found["client_id"], found["sub"]) == (True, "program", "ann")


@pytest.mark.asyncio(loop_scope="session")
async def test_authorization_code(identity: Identity, tmp_path: Path) -> None:
    """A person logs in in a browser (PKCE, a free loopback port); then refresh tokens rotate."""
    table = auth(
        identity,
        "authorization_code",
        'client_auth = "none"',
        'scope = "openid offline_access"',
        'authorize_parameters = { prompt = "consent" }',
    )
    person = PersonWithForms()
    async with provider(tmp_path, identity.url, table, client_id="program") as berlin:
        await berlin.log_in(person)
        await _renewed(identity, berlin)
    assert person.logins == 1


@pytest.mark.asyncio(loop_scope="session")
async def test_device_code(identity: Identity, tmp_path: Path) -> None:
    """A person types the code on the provider's page; then refresh tokens rotate."""
    table = auth(identity, "device_code", 'client_auth = "none"', 'scope = "openid offline_access"')
    person = PersonWithForms()
    async with provider(tmp_path, identity.url, table, client_id="program") as berlin:
        await berlin.log_in(person)
        await _renewed(identity, berlin)
    assert person.logins == 1
    assert person.device is not None
    assert "Sign-in Success" in (await person.device or "")


@pytest.mark.asyncio(loop_scope="session")
async def test_private_key_jwt(identity: Identity, tmp_path: Path) -> None:
    """The client signs who it is; the token is its own."""
    table = auth(
        identity,
        "client_credentials",
        'client_auth = "private_key_jwt"',
        "[auth.sign]",
        'key_id = "k1"',
    )
    key = {"file": str(identity.key)}
    async with provider(
        tmp_path, identity.url, table, client_id="robot", private_key=key
    ) as berlin:
        found = await identity.describe(str(await berlin.token()))
    assert (found["active"], found["client_id"]) == (True, "robot")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_wrong_secret(identity: Identity, tmp_path: Path) -> None:
    """What the provider answers to a wrong secret is a refusal, in its own words."""
    table = auth(identity, "client_credentials")
    async with provider(
        tmp_path, identity.url, table, client_id="prober", client_secret="wrong"
    ) as berlin:
        with pytest.raises(errors.AuthenticationError, match="client authentication failed"):
            await berlin.token()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_refresh_token_of_long_ago(identity: Identity, tmp_path: Path) -> None:
    """What the provider answers to a refresh token that it does not know is a refusal."""
    table = auth(identity, "refresh_token", 'client_auth = "none"')
    async with provider(
        tmp_path, identity.url, table, client_id="program", refresh_token="of-long-ago"
    ) as berlin:
        with pytest.raises(errors.AuthenticationError, match="grant request is invalid"):
            await berlin.token()
