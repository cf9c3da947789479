"""The logins of vendors in docs/authentication.md send what the vendor's page says."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

import jwt

from support.identity_service import JWT_ASSERTION, JWT_BEARER, make_key
from support.manual import code_blocks, read, section
from support.oauth_service import FlowService, Seen, provider, reply

PAGE = section(read("docs/authentication.md"), "Logins of vendors")
ISSUED = {"token_type": "Bearer", "expires_in": 3599, "access_token": "access-of-the-vendor"}
CLIENT = {"client_id": "the-client", "client_secret": "the-secret"}


def table(title: str) -> str:
    """Return the table `[auth]` below a heading of the page."""
    _, found, rest = PAGE.partition(f"\n### {title}\n")
    assert found, title
    return code_blocks(rest.partition("\n### ")[0], "toml")[0]


async def played(
    title: str, path: str, folder: Path, **credentials: object
) -> tuple[list[Seen], list[Seen], str]:
    """Chat once with the table of a vendor.

    Returns:
        the requests for a token, those of the chat, and the vendor's own token URL.
    """
    described = table(title)
    found = re.search(r'token_url = "(https://[^/"]+)', described)
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
    """Google takes a JWT with the documented claims only, and nothing beside it."""
    key, public = write_key(tmp_path)
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
