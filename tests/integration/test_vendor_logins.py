"""The logins of vendors in docs/vendor-logins.md send what the vendor's page says.

The fakes are written from the pages that the manual names.
"""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from berlin import Berlin
from berlin.config import load_config, resolve_settings
from support.identity_service import JWT_ASSERTION, JWT_BEARER, Browser, make_key
from support.manual import code_blocks, read, section
from support.oauth_service import FlowService, Seen, provider, reply

PAGE = read("docs/vendor-logins.md")
SHIPPED = Path(__file__).parents[2] / "src/berlin/recipes/shipped"
ISSUED = {"token_type": "Bearer", "expires_in": 3599, "access_token": "access-of-the-vendor"}
CLIENT = {"client_id": "the-client", "client_secret": "the-secret"}


def table(title: str, number: int = 0) -> str:
    """Return a table `[auth]` below a heading of the page."""
    return code_blocks(section(PAGE, title), "toml")[number]


def shipped(name: str) -> str:
    """Return the table `[auth]` of a recipe that comes with Berlin."""
    text = (SHIPPED / f"{name}.toml").read_text()
    return "[auth]" + text.partition("[auth]")[2].partition("[chat]")[0]


async def played(
    title: str, path: str, folder: Path, auth: str = "", **credentials: object
) -> tuple[list[Seen], list[Seen], str]:
    """Chat once with the table of a vendor.

    Returns:
        the requests for a token, those of the chat, and the vendor's own token URL.
    """
    described = auth or table(title)
    found = re.search(r'(?:token_url|path) = "(https?://[^/"]+)', described)
    host = found[1] if found else "https://no.example"
    async with FlowService() as service:
        service.answers[path] = [reply(ISSUED)]
        async with provider(
            folder, service.url, described.replace(host, service.url), **credentials
        ) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            assert (await berlin.ask("Hello")).text == "good"
        return service.at(path), service.at("/chat"), f"{service.url}{path}"


def write_key(folder: Path) -> tuple[dict[str, str], Any]:
    """Write a private key, and return how it is named, and its public key."""
    pem, public = make_key()
    (folder / "key.pem").write_text(pem)
    return {"file": "key.pem"}, public


ENTRA = "/your-tenant-id/oauth2/v2.0/token"


async def test_entra_secret(tmp_path: Path) -> None:
    """Azure Entra takes id, secret and scope in the form."""
    [asked], chats, _ = await played("Azure Entra: client secret", ENTRA, tmp_path, **CLIENT)
    assert asked.form == {
        "grant_type": "client_credentials",
        "scope": "https://cognitiveservices.azure.com/.default",
        **CLIENT,
    }
    assert "Authorization" not in asked.headers
    assert chats[0].headers["Authorization"] == "Bearer access-of-the-vendor"


async def test_entra_certificate(tmp_path: Path) -> None:
    """Azure Entra takes a JWT signed by PS256 whose header names the certificate."""
    key, public = write_key(tmp_path)
    [asked], _, url = await played(
        "Azure Entra: certificate", ENTRA, tmp_path, client_id="the-client", private_key=key
    )
    form = asked.form
    proof = form.pop("client_assertion")
    assert form == {
        "grant_type": "client_credentials",
        "scope": "https://cognitiveservices.azure.com/.default",
        "client_id": "the-client",
        "client_assertion_type": JWT_ASSERTION,
    }
    assert jwt.get_unverified_header(proof) == {
        "alg": "PS256",
        "typ": "JWT",
        "x5t#S256": "your-thumbprint",
    }
    claims = jwt.decode(proof, public, algorithms=["PS256"], audience=url)
    assert claims["iss"] == claims["sub"] == "the-client"
    assert claims.keys() == {"aud", "exp", "iss", "jti", "nbf", "sub", "iat"}
    assert claims["exp"] - claims["nbf"] <= 600


async def test_google_service_account(tmp_path: Path) -> None:
    """Google takes a JWT with the documented claims only, signed by the key of the key file."""
    pem, public = make_key()
    (tmp_path / "account.json").write_text(json.dumps({"type": "x", "private_key": pem}))
    key = {"file": "account.json", "at": "/private_key"}
    [asked], _, url = await played("Google: service account", "/token", tmp_path, private_key=key)
    form = asked.form
    proof = form.pop("assertion")
    assert form == {"grant_type": JWT_BEARER}
    assert jwt.get_unverified_header(proof) == {
        "alg": "RS256",
        "typ": "JWT",
        "kid": "your-private-key-id",
    }
    claims = jwt.decode(proof, public, algorithms=["RS256"], audience=url)
    assert claims.keys() == {"iss", "scope", "aud", "exp", "iat"}
    assert claims["iss"] == "your-account@your-project.iam.gserviceaccount.com"
    assert claims["exp"] - claims["iat"] <= 3600


async def test_databricks(tmp_path: Path) -> None:
    """Databricks takes id and secret by basic authentication, and the scope all-apis."""
    [asked], _, _ = await played(
        "Databricks: machine to machine", "/oidc/v1/token", tmp_path, **CLIENT
    )
    assert asked.form == {"grant_type": "client_credentials", "scope": "all-apis"}
    proof = base64.b64encode(b"the-client:the-secret").decode()
    assert asked.headers["Authorization"] == f"Basic {proof}"


async def test_snowflake(tmp_path: Path) -> None:
    """Snowflake takes the signed JWT itself as the token; one is signed for many requests."""
    key, public = write_key(tmp_path)
    asked, chats, _ = await played("Snowflake: key pair", "/none", tmp_path, private_key=key)
    assert asked == []
    sent = [chat.headers["Authorization"].removeprefix("Bearer ") for chat in chats]
    assert len(set(sent)) == 1
    claims = jwt.decode(sent[0], public, algorithms=["RS256"])
    user = "YOUR_ORG-YOUR_ACCOUNT.YOUR_USER"
    assert claims["iss"] == f"{user}.SHA256:your-fingerprint"
    assert claims["sub"] == user
    assert claims.keys() == {"iss", "sub", "iat", "exp"}
    assert time.time() < claims["exp"] <= claims["iat"] + 3600


async def test_a_refused_signature_is_made_anew(tmp_path: Path) -> None:
    """A signed token that the service refuses is signed anew, once."""
    key, _ = write_key(tmp_path)
    async with FlowService() as service:
        service.answers["/chat"] = [reply({"message": "no"}, 401), reply({"content": "good"})]
        described = table("Snowflake: key pair").replace('"nbf", "jti"', '"nbf"')
        async with provider(tmp_path, service.url, described, private_key=key) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
        first, second = (seen.headers["Authorization"] for seen in service.at("/chat"))
    assert first != second


async def test_azure_managed_identity(tmp_path: Path) -> None:
    """The machine's endpoint takes a GET with the header Metadata, and answers text for numbers."""
    path = "/metadata/identity/oauth2/token"
    [asked], chats, _ = await played("Azure: managed identity", path, tmp_path)
    assert asked.method == "GET"
    assert asked.headers["Metadata"] == "true"
    assert asked.query == {
        "api-version": "2018-02-01",
        "resource": "https://cognitiveservices.azure.com/",
    }
    assert len(chats) == 2


async def test_google_metadata_server(tmp_path: Path) -> None:
    """The metadata server takes a GET with the header Metadata-Flavor."""
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    [asked], _, _ = await played("Google: metadata server", path, tmp_path)
    assert (asked.method, asked.headers["Metadata-Flavor"]) == ("GET", "Google")


async def test_aws_instance(tmp_path: Path) -> None:
    """A session first, then the role's name, then its keys, which sign the requests."""
    described = table("AWS: role of an instance")
    role = "/latest/meta-data/iam/security-credentials/"
    keys = {
        "Code": "Success",
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "the-secret-key",
        "Token": "the-session-token",
        "Expiration": "2099-11-28T00:00:00Z",
    }
    async with FlowService() as service:
        service.answers["/latest/api/token"] = [reply("the-session==\n")]
        service.answers[role] = [reply("the-role")]
        service.answers[f"{role}the-role"] = [reply(keys)]
        described = described.replace("http://169.254.169.254", service.url)
        async with provider(tmp_path, service.url, described) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            assert (await berlin.ask("Hello")).text == "good"
        first, second, third, *chats = service.seen
    assert (first.method, first.headers["X-aws-ec2-metadata-token-ttl-seconds"]) == ("PUT", "60")
    for asked in (second, third):
        assert (asked.method, asked.headers["X-aws-ec2-metadata-token"]) == ("GET", "the-session==")
    assert len(chats) == 2
    for chat in chats:
        assert "Credential=ASIAEXAMPLE/" in chat.headers["Authorization"]
        assert chat.headers["X-Amz-Security-Token"] == "the-session-token"
    assert "the-secret-key" not in str(service.seen)


async def test_aws_single_sign_on(tmp_path: Path) -> None:
    """The token of `aws sso login` buys keys that expire at a time in milliseconds."""
    described = table("AWS: single sign-on", 1)
    (tmp_path / "session.json").write_text(json.dumps({"accessToken": "the-sso-token"}))
    keys = {
        "accessKeyId": "ASIAEXAMPLE",
        "secretAccessKey": "the-secret-key",
        "sessionToken": "the-session-token",
        "expiration": int((time.time() + 3600) * 1000),
    }
    path = "/federation/credentials"
    async with FlowService() as service:
        service.answers[path] = [reply({"roleCredentials": keys})]
        described = described.replace("https://portal.sso.us-east-1.amazonaws.com", service.url)
        source = {"file": "session.json", "at": "/accessToken"}
        async with provider(tmp_path, service.url, described, assertion=source) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            expires_at = (await berlin.token()).expires_at
        [asked], [chat] = service.at(path), service.at("/chat")
    assert asked.headers["x-amz-sso_bearer_token"] == "the-sso-token"
    assert asked.query == {"account_id": "123456789012", "role_name": "YourRole"}
    assert "Credential=ASIAEXAMPLE/" in chat.headers["Authorization"]
    assert expires_at == keys["expiration"] / 1000


async def test_sap_ai_core(tmp_path: Path) -> None:
    """SAP AI Core takes client id and secret of the service key by basic authentication."""
    [asked], _, _ = await played(
        "", "/oauth/token", tmp_path, auth=shipped("sap-ai-core"), **CLIENT
    )
    assert asked.form == {"grant_type": "client_credentials"}
    proof = base64.b64encode(b"the-client:the-secret").decode()
    assert asked.headers["Authorization"] == f"Basic {proof}"


async def test_watsonx(tmp_path: Path) -> None:
    """The key of IBM Cloud is exchanged for a token, as a form."""
    [asked], chats, _ = await played(
        "", "/identity/token", tmp_path, auth=shipped("watsonx"), api_key="the-key"
    )
    assert asked.form == {
        "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
        "apikey": "the-key",
    }
    assert len(chats) == 2
    assert chats[0].headers["Authorization"] == "Bearer access-of-the-vendor"


async def test_github_device(tmp_path: Path) -> None:
    """GitHub takes the client id alone, answers 200 while it waits, and gives no expiry."""
    described = table("GitHub: device login").replace("https://github.com", "{url}")
    async with FlowService() as service:
        described = described.replace("{url}", service.url)
        service.answers["/login/device/code"] = [
            reply(
                {
                    "device_code": "the-device",
                    "user_code": "WDJB-MJHT",
                    "verification_uri": "https://github.com/login/device",
                    "expires_in": 900,
                    "interval": 1,
                }
            )
        ]
        issued = {"access_token": "gho_x", "token_type": "bearer", "scope": ""}
        service.answers["/login/oauth/access_token"] = [
            reply({"error": "authorization_pending"}),
            reply(issued),
        ]
        async with provider(
            tmp_path, service.url, described, client_id="my-app", client_secret="unused"
        ) as berlin:
            person = Browser()
            await berlin.log_in(person)
            assert (await berlin.ask("Hello")).text == "good"
        first, second = service.at("/login/oauth/access_token")
    assert first.form == second.form
    assert first.form["grant_type"] == "urn:ietf:params:oauth:grant-type:device_code"
    assert first.form["client_id"] == "my-app"
    assert first.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("title", "token_path", "expected"),
    [
        (
            "Anthropic: workload identity federation",
            "/v1/oauth/token",
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": "token-of-the-platform",
                "federation_rule_id": "fdrl_your-rule",
                "organization_id": "00000000-0000-0000-0000-000000000000",
                "service_account_id": "svac_your-account",
            },
        ),
        (
            "OpenAI: workload identity federation",
            "/oauth/token",
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "subject_token": "token-of-the-platform",
                "identity_provider_id": "your-provider",
                "service_account_id": "your-service-account",
            },
        ),
    ],
)
async def test_federation(
    title: str, token_path: str, expected: dict[str, str], tmp_path: Path
) -> None:
    """A whole recipe: the platform's token, read again each time, buys a token of the vendor."""
    recipe = table(title)
    events = {
        "/v1/messages": [
            {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 1}}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "good"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
            {"type": "message_stop"},
        ],
        "/chat/completions": [
            {"choices": [{"delta": {"content": "good"}, "finish_reason": "stop"}]}
        ],
    }
    async with FlowService() as service:
        for path, documents in events.items():
            lines = "".join(f"data: {json.dumps(each)}\n\n" for each in documents)
            service.answers[path] = [reply(f"{lines}data: [DONE]\n\n")]
        service.answers[token_path] = [reply(ISSUED)]
        recipe = recipe.replace("https://auth.openai.com", service.url)
        (tmp_path / "federated.toml").write_text(recipe)
        (tmp_path / "berlin.toml").write_text(
            f'[providers.vendor]\nrecipe = "federated.toml"\nurl = "{service.url}"\n'
            'assertion = { file = "token" }\n'
        )
        (tmp_path / "token").write_text("token-of-the-platform\n")
        settings = resolve_settings("vendor", load_config(tmp_path / "berlin.toml"), environ={})
        async with Berlin.from_settings(settings) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
        [asked], [chat] = service.at(token_path), [s for s in service.seen if s.path in events]
    assert asked.json == expected
    assert chat.headers["Authorization"] == "Bearer access-of-the-vendor"
    assert "x-api-key" not in chat.headers
    if "Anthropic" in title:
        assert asked.headers["anthropic-beta"] == "oauth-2025-04-20,oidc-federation-2026-04-01"
        assert chat.headers["anthropic-beta"] == "oauth-2025-04-20"
        assert chat.headers["anthropic-version"] == "2023-06-01"
