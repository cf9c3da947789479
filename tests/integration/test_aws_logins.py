"""The logins of AWS in docs/vendor-logins.md: single sign-on, and the role of a container.

The fakes are written from the pages that the manual names.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from berlin import Berlin, errors
from berlin.auth.contract import DeviceCode
from berlin.auth.credentials import Credentials
from berlin.auth.flows.aws.container import ContainerKeys
from berlin.auth.flows.oauth2.table import DEVICE_GRANT
from berlin.types import HttpRequest, HttpResponse
from support.manual import code_blocks, read, section
from support.oauth_service import FlowService, Reply, Seen, provider, reply, settings

PAGE = read("docs/vendor-logins.md")
SSO = code_blocks(section(PAGE, "AWS: single sign-on"), "toml")[0]
CONTAINER = code_blocks(section(PAGE, "AWS: role of a container"), "toml")[0]
KEYS = {
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "the-secret-key",
    "Token": "the-session-token",
    "Expiration": "2099-11-28T00:00:00Z",
    "RoleArn": "arn:aws:iam::123456789012:role/Task",
}


class IdentityCenter(FlowService):
    """AWS SSO OIDC and the portal, strict about what their references require.

    Attributes:
        pending: how often the person has not entered the code yet.
        lifetime: seconds that an access token is good.
        keys_last: seconds that the keys of the role are good.
        asked: the requests by name, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending, self.lifetime, self.keys_last = 1, 28800.0, 3600.0
        self.refreshes, self.access = {"refresh-0"}, {"access-0"}
        self.asked: list[str] = []
        self.answers |= {
            "/client/register": [self._register],
            "/device_authorization": [self._authorize],
            "/token": [self._token],
            "/federation/credentials": [self._keys],
        }

    def _register(self, seen: Seen) -> Reply:
        self.asked.append("register")
        assert seen.json == {
            "clientName": "berlin",
            "clientType": "public",
            "scopes": ["sso:account:access"],
        }
        late = int(time.time() + 90 * 86400)
        client = {"clientId": "c1", "clientSecret": "s1", "clientSecretExpiresAt": late}
        return reply({**client, "clientIdIssuedAt": int(time.time())})

    def _authorize(self, seen: Seen) -> Reply:
        self.asked.append("authorize")
        assert seen.json == {
            "clientId": "c1",
            "clientSecret": "s1",
            "startUrl": "https://your-company.awsapps.com/start",
        }
        return reply(
            {
                "deviceCode": "device-1",
                "userCode": "ABCD-EFGH",
                "verificationUri": "https://device.sso.us-east-1.amazonaws.com/",
                "verificationUriComplete": "https://device.sso.example/?user_code=ABCD-EFGH",
                "expiresIn": 600,
                "interval": 1,
            }
        )

    def _token(self, seen: Seen) -> Reply:
        form = seen.json
        assert (form["clientId"], form["clientSecret"]) == ("c1", "s1")
        if form["grantType"] == DEVICE_GRANT:
            self.asked.append("poll")
            assert form["deviceCode"] == "device-1"
            if self.pending:
                self.pending -= 1
                said = {"error": "authorization_pending", "error_description": None}
                return reply(said, 400)
        else:
            self.asked.append("refresh")
            if form["grantType"] != "refresh_token" or form["refreshToken"] not in self.refreshes:
                return reply({"error": "invalid_grant", "error_description": "expired"}, 400)
        number = len(self.asked)
        self.access, self.refreshes = {f"access-{number}"}, {f"refresh-{number}"}
        return reply(
            {
                "accessToken": f"access-{number}",
                "tokenType": "Bearer",
                "expiresIn": self.lifetime,
                "refreshToken": f"refresh-{number}",
            }
        )

    def _keys(self, seen: Seen) -> Reply:
        self.asked.append("keys")
        assert seen.query == {"account_id": "123456789012", "role_name": "YourRole"}
        if seen.headers["x-amz-sso_bearer_token"] not in self.access:
            return reply({"message": "Session token not found or invalid"}, 401)
        keys = {
            "accessKeyId": f"ASIA{len(self.asked)}",
            "secretAccessKey": "the-secret-key",
            "sessionToken": "the-session-token",
            "expiration": int((time.time() + self.keys_last) * 1000),
        }
        return reply({"roleCredentials": keys})


class Person:
    """Remembers the code that was shown."""

    def __init__(self) -> None:
        self.codes: list[DeviceCode] = []

    def show_code(self, code: DeviceCode) -> None:
        self.codes.append(code)

    async def open_page(self, url: str, back: str) -> str | None:
        raise AssertionError(url)


@asynccontextmanager
async def signed_on(folder: Path, service: IdentityCenter) -> AsyncIterator[Berlin]:
    """Open a provider with the table of the manual, and log in."""
    urls = f'oidc_url = "{service.url}"\nportal_url = "{service.url}"\n'
    async with provider(folder, service.url, f"{SSO}\n{urls}") as berlin:
        await berlin.log_in(Person())
        yield berlin


async def test_single_sign_on(tmp_path: Path) -> None:
    """A person enters a code; the keys of the role sign requests, and nothing is asked twice."""
    async with IdentityCenter() as service:
        urls = f'oidc_url = "{service.url}"\nportal_url = "{service.url}"\n'
        async with provider(tmp_path, service.url, f"{SSO}\n{urls}") as berlin:
            with pytest.raises(errors.MissingCredentialsError, match="run `berlin login tested`"):
                await berlin.ask("Hello")
            person = Person()
            await berlin.log_in(person)
            assert (await berlin.ask("Hello")).text == "good"
            assert (await berlin.ask("Hello")).text == "good"
        [code] = person.codes
        assert (code.code, code.interval) == ("ABCD-EFGH", 1)
        assert service.asked == ["register", "authorize", "poll", "poll", "keys"]
        for chat in service.at("/chat"):
            assert "Credential=ASIA5/" in chat.headers["Authorization"]
            assert chat.headers["X-Amz-Security-Token"] == "the-session-token"
        assert "the-secret-key" not in str(service.seen)


@pytest.mark.parametrize(
    ("lifetime", "expected"),
    [(28800.0, ["keys"]), (30.0, ["refresh", "keys"])],
    ids=["the token is good", "the token has expired"],
)
async def test_next_keys(lifetime: float, expected: list[str], tmp_path: Path) -> None:
    """Keys that expire are replaced without a person, with a new token only if that is needed."""
    async with IdentityCenter() as service:
        service.pending, service.lifetime = 0, lifetime
        async with signed_on(tmp_path, service) as berlin:
            service.asked.clear()
            berlin.reject_token((await berlin.token()).value.reveal())
            assert (await berlin.ask("Hello")).text == "good"
        assert service.asked == expected


async def test_a_token_that_the_portal_refuses(tmp_path: Path) -> None:
    """A token that was revoked is refreshed once; a refused refresh says to log in."""
    async with IdentityCenter() as service:
        service.pending = 0
        async with signed_on(tmp_path, service) as berlin:
            service.asked.clear()
            service.access.clear()
            berlin.reject_token((await berlin.token()).value.reveal())
            assert (await berlin.ask("Hello")).text == "good"
            assert service.asked == ["keys", "refresh", "keys"]
            service.access.clear()
            service.refreshes.clear()
            berlin.reject_token((await berlin.token()).value.reveal())
            with pytest.raises(errors.AuthenticationError, match="run `berlin login tested`"):
                await berlin.ask("Hello")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": "us-east-1.evil.example/"}, "region"),
        ({"account": "12345"}, "12 digits"),
    ],
)
def test_a_wrong_table(change: dict[str, str], message: str, tmp_path: Path) -> None:
    """A region becomes part of a host's name, so nothing else is taken for one."""
    described = SSO
    for name, value in change.items():
        lines = [f'{name} = "{value}"' if line.startswith(f"{name} =") else line
                 for line in described.splitlines()]  # fmt: skip
        described = "\n".join(lines)
    with pytest.raises(errors.ConfigurationError, match=message):
        settings(tmp_path, "http://127.0.0.1:1", described)


async def test_pod_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EKS names an address, and a file with a token that is read again for each exchange."""
    file = tmp_path / "eks-pod-identity-token"
    async with FlowService() as service:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(file))
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not this one")
        service.answers["/v1/credentials"] = [reply(KEYS)]
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            async with provider(tmp_path, service.url, CONTAINER) as berlin:
                assert (await berlin.ask("Hello")).text == "good"
                berlin.reject_token((await berlin.token()).value.reveal())
        asked = service.at("/v1/credentials")
    assert [seen.headers["Authorization"] for seen in asked] == ["first", "second"]
    chat = service.at("/chat")[0]
    assert "Credential=ASIAEXAMPLE/" in chat.headers["Authorization"]
    assert chat.headers["X-Amz-Security-Token"] == "the-session-token"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("FULL_URI", "http://credentials.example.com/x", "nothing was sent there"),
        ("FULL_URI", "http://169.254.169.254/latest", "nothing was sent there"),
        ("FULL_URI", "http://127.0.0.1.example.com/", "nothing was sent there"),
        ("FULL_URI", "file:///etc/passwd", "FULL_URI must be https:// or http://"),
        ("FULL_URI", "http://[x", "FULL_URI is not a URL"),
        ("RELATIVE_URI", "@evil.example/x", "must begin with"),
        ("OTHER", "", "neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    ],
)
async def test_addresses_that_are_not_the_platform(
    variable: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over plain HTTP only ECS, EKS and this machine are asked."""
    for name in ("FULL_URI", "RELATIVE_URI"):
        monkeypatch.delenv(f"AWS_CONTAINER_CREDENTIALS_{name}", raising=False)
    monkeypatch.setenv(f"AWS_CONTAINER_CREDENTIALS_{variable}", value)
    async with FlowService() as service, provider(tmp_path, service.url, CONTAINER) as berlin:
        with pytest.raises(errors.BerlinError, match=message):
            await berlin.ask("Hello")
    assert service.seen == []


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (reply({"code": "AccessDenied", "message": "no role"}, 403), "AuthenticationError", "no r"),
        (reply({"message": "busy"}, 429), "RateLimitError", "busy"),
        (reply({**KEYS, "SecretAccessKey": ""}), "ProtocolError", "no secret_access_key"),
        (reply({"Code": "Failed", "Message": "x"}), "AuthenticationError", "gave no token"),
        (reply("<html>"), "ProtocolError", "credentials"),
    ],
)
async def test_bad_answers_of_the_platform(
    answer: Reply, kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not a set of keys is a typed error with the platform's words."""
    async with FlowService() as service, provider(tmp_path, service.url, CONTAINER) as berlin:
        monkeypatch.delenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", raising=False)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.url}/keys")
        service.answers["/keys"] = [answer]
        with pytest.raises(getattr(errors, kind), match=message):
            await berlin.ask("Hello")
        assert service.at("/chat") == []


async def test_ecs_is_asked_at_its_address() -> None:
    """ECS gives a path below its own address, and needs no token."""
    seen: list[HttpRequest] = []

    async def send(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse(200, body=json.dumps(KEYS).encode())

    environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/abc"}
    grant = await ContainerKeys(environ).obtain(Credentials(), send)
    assert grant.token.reveal() == "ASIAEXAMPLE"
    [asked] = seen
    assert asked.path == "http://169.254.170.2/v2/credentials/abc"
    assert "Authorization" not in asked.headers
