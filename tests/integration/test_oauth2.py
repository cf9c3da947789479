"""OAuth 2 against a token service that is strict about RFC 6749 and RFC 8628."""

from __future__ import annotations

import base64
import traceback
from pathlib import Path

import pytest

from berlin import errors
from support.clock import pass_time
from support.oauth_service import (
    FlowService,
    OAuthService,
    Reply,
    provider,
    reply,
)


def auth(grant: str, more: str = "") -> str:
    """Return the table of a grant."""
    return f'[auth]\nflow = "oauth2"\ngrant = "{grant}"\ntoken_url = "/token"\n{more}\n'


CLIENT = {"client_id": "client", "client_secret": "secret"}
ANN = {"account": "ann", "password": "password"}


async def test_client_credentials(tmp_path: Path) -> None:
    """A client gets a token with its id and secret, and what the recipe adds goes along."""
    more = 'scope = "chat read"\nparameters = { audience = "https://api.example" }'
    async with (
        OAuthService(lifetime=600) as service,
        provider(tmp_path, service.url, auth("client_credentials", more), **CLIENT) as berlin,
    ):
        assert (await berlin.ask("Hello")).text == "good"
        assert (await berlin.ask("Hello")).text == "good"
    assert service.paths == ["/token", "/chat", "/chat"]
    asked = service.seen[0]
    assert asked.form == {
        "grant_type": "client_credentials",
        "scope": "chat read",
        "audience": "https://api.example",
    }
    assert asked.headers["Authorization"] == f"Basic {base64.b64encode(b'client:secret').decode()}"
    assert service.seen[1].headers["Authorization"] == "Bearer access-1"


@pytest.mark.parametrize("client_auth", ["basic", "body"])
@pytest.mark.parametrize("secret", ["a:b c", "%20+&=", "geheim-ü-🔑", 'q"\\'])
async def test_client_authentication(secret: str, client_auth: str, tmp_path: Path) -> None:
    """Id and secret of any characters arrive, in the header (RFC 6749, 2.3.1) or in the body."""
    given = {"client_id": "my client:1", "client_secret": secret}
    table = auth("client_credentials", f'client_auth = "{client_auth}"')
    async with OAuthService() as service:
        service.clients = {"my client:1": secret}
        async with provider(tmp_path, service.url, table, **given) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert service.violations == []
    assert ("Authorization" in service.seen[0].headers) == (client_auth == "basic")
    if client_auth == "body":
        assert service.seen[0].form == {"grant_type": "client_credentials", **given}


async def test_wrong_client(tmp_path: Path) -> None:
    """A client that the service does not know is refused once, and that is remembered."""
    given = {"client_id": "client", "client_secret": "wrong-secret"}
    table = auth("client_credentials")
    async with (
        OAuthService() as service,
        provider(tmp_path, service.url, table, **given) as berlin,
    ):
        for _ in range(2):
            with pytest.raises(errors.AuthenticationError, match="invalid_client") as caught:
                await berlin.ask("Hello")
    assert service.paths == ["/token"]
    assert "wrong-secret" not in "".join(traceback.format_exception(caught.value))


async def test_client_without_a_secret(tmp_path: Path) -> None:
    """An id without its secret is a mistake of the set-up that names what lacks."""
    with pytest.raises(
        errors.ConfigurationError, match="client_id without client_secret in the conf"
    ):
        async with provider(
            tmp_path, "http://127.0.0.1:1", auth("client_credentials"), client_id="client"
        ):
            pass


async def test_password(tmp_path: Path) -> None:
    """Account and password get a token; after a 401 they get another."""
    async with (
        OAuthService() as service,
        provider(tmp_path, service.url, auth("password"), **ANN) as berlin,
    ):
        assert (await berlin.ask("Hello")).text == "good"
        service.expire_all()
        assert (await berlin.ask("Hello")).text == "good"
    assert service.kinds == ["password", "password"]
    form = {"grant_type": "password", "username": "ann", "password": "password"}
    assert service.at("/token")[0].form == form


async def test_password_with_a_client(tmp_path: Path) -> None:
    """The password grant of a known client carries the client too."""
    async with OAuthService() as service:
        service.clients = {"client": "right"}
        given = {**ANN, "client_id": "client", "client_secret": "right"}
        async with provider(tmp_path, service.url, auth("password"), **given) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert service.seen[0].headers["Authorization"].startswith("Basic ")


async def test_wrong_password(tmp_path: Path) -> None:
    """A wrong password is told in the service's words."""
    async with OAuthService() as service:
        given = {"account": "ann", "password": "nonsense"}
        async with provider(tmp_path, service.url, auth("password"), **given) as berlin:
            with pytest.raises(errors.AuthenticationError, match="refuses the credentials: wrong"):
                await berlin.ask("Hello")


async def test_refresh_token_that_rotates(tmp_path: Path) -> None:
    """Each refresh token is used once, the newest each time, and nobody is logged out."""
    async with OAuthService(rotate=True, lifetime=30) as service:
        service.refreshes.add("from elsewhere")
        async with provider(
            tmp_path, service.url, auth("refresh_token"), refresh_token="from elsewhere"
        ) as berlin:
            for _ in range(3):
                assert (await berlin.ask("Hello")).text == "good"
                pass_time(berlin, 31)
    assert service.violations == []
    sent = [seen.form["refresh_token"] for seen in service.at("/token")]
    assert sent == ["from elsewhere", "refresh-1", "refresh-2"]


async def test_refresh_token_that_stays(tmp_path: Path) -> None:
    """A refresh token that is not replaced is used again."""
    async with OAuthService() as service:
        service.refreshes.add("for ever")
        async with provider(
            tmp_path, service.url, auth("refresh_token"), refresh_token="for ever"
        ) as berlin:
            for _ in range(3):
                service.expire_all()
                assert (await berlin.ask("Hello")).text == "good"
    assert [seen.form["refresh_token"] for seen in service.at("/token")] == ["for ever"] * 3


async def test_refresh_token_of_a_password(tmp_path: Path) -> None:
    """The refresh token that came with a password spares the password, until it is refused."""
    async with (
        OAuthService(refresh=True) as service,
        provider(tmp_path, service.url, auth("password", 'scope = "chat"'), **ANN) as berlin,
    ):
        await berlin.ask("Hello")
        service.expire_all()
        await berlin.ask("Hello")
        service.expire_all()
        service.refreshes.clear()
        await berlin.ask("Hello")
    assert service.kinds == ["password", "refresh_token", "refresh_token", "password"]
    assert "scope" not in service.at("/token")[1].form


async def test_refresh_token_refused(tmp_path: Path) -> None:
    """Where the refresh token is all there is, its refusal is told, and it is not."""
    async with (
        OAuthService() as service,
        provider(
            tmp_path, service.url, auth("refresh_token"), refresh_token="tell-no-one"
        ) as berlin,
    ):
        with pytest.raises(errors.AuthenticationError, match="invalid_grant") as caught:
            await berlin.ask("Hello")
    assert service.paths == ["/token"]
    assert "tell-no-one" not in "".join(traceback.format_exception(caught.value))


async def test_token_url_elsewhere(tmp_path: Path) -> None:
    """The token service may have an address of its own."""
    async with OAuthService() as tokens, FlowService() as service:
        table = auth("client_credentials").replace('"/token"', f'"{tokens.url}/token"')
        async with provider(tmp_path, service.url, table, **CLIENT) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert (tokens.paths, service.paths) == (["/token"], ["/chat"])


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        (reply({"error": "invalid_scope"}, 400), errors.AuthenticationError, "invalid_scope"),
        (
            reply({"error": "invalid_request", "error_description": "no audience"}, 400),
            errors.AuthenticationError,
            "no audience",
        ),
        (reply({"error": "server_error"}, 400), errors.ServiceUnavailableError, "temporarily"),
        (reply({"error": "x"}, 503), errors.ServiceUnavailableError, "answers 503"),
        (reply("gone", 404), errors.RequestRejectedError, "answers 404: gone"),
        (reply("<html>", 200), errors.ProtocolError, "a web page"),
        (reply([], 200), errors.ProtocolError, "not a JSON object"),
        (reply({}, 200), errors.AuthenticationError, "gave no token"),
        (reply({"error": "bad"}, 200), errors.AuthenticationError, "bad"),
        (reply({"access_token": ["t"]}, 200), errors.ProtocolError, "must be text"),
        (reply({"message": "slow"}, 429, ("Retry-After", "99")), errors.RateLimitError, "slow"),
    ],
)
async def test_error_answers(
    script: Reply, kind: type[errors.BerlinError], said: str, tmp_path: Path
) -> None:
    """Each error of a token service is a typed error with its words."""
    async with FlowService() as service:
        service.answers["/token"] = [script]
        async with provider(tmp_path, service.url, auth("client_credentials"), **CLIENT) as berlin:
            with pytest.raises(errors.BerlinError) as caught:
                await berlin.ask("Hello")
        assert service.at("/chat") == []
    assert type(caught.value) is kind
    assert said in caught.value.message
