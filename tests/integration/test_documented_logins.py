"""Each flow of docs/authentication.md is tried with the one command that the page names."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import time
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from berlin.cli.main import cli
from support.identity_service import IdentityService, make_key
from support.manual import code_blocks, read
from support.oauth_service import FlowService, reply, write_recipe

PAGE = read("docs/authentication.md")
ACCOUNT = {"account": "ann", "password": "p"}
CLIENT = {"client_id": "c", "client_secret": "s"}
ISSUED = reply({"access_token": "the-token", "token_type": "Bearer", "expires_in": 60})
LOGIN = reply({"data": {"token": "the-token"}})

FLOWS: dict[str, tuple[dict[str, Any], str]] = {
    "An API key": ({"api_key": "the-token"}, ""),
    "Basic authentication": (ACCOUNT, ""),
    "AWS access keys": ({"client_id": "the-token", "client_secret": "s"}, ""),
    "A login of the service's own": (ACCOUNT, "/api/login"),
    "OAuth 2.0": (CLIENT, "/oauth/token"),
    "Signed assertions": (
        {"client_id": "c", "private_key": {"file": "key.pem"}},
        "/oauth/token",
    ),
    "Tokens of the platform": ({"assertion": {"file": "token"}}, "/oauth/token"),
    "A program that prints the token": ({}, ""),
}


@pytest.mark.parametrize("title", FLOWS)
async def test_berlin_token(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`berlin token` logs in as the page shows, and prints the token."""
    credentials, path = FLOWS[title]
    described = code_blocks(PAGE.partition(f"\n### {title}\n")[2], "toml")[0]
    prints = f"print({json.dumps(json.dumps({'token': 'the-token', 'expiry': 9e9}))})"
    program = json.dumps([sys.executable, "-c", prints])
    described = described.replace('["my-sso", "token", "--json"]', program)
    (tmp_path / "key.pem").write_text(make_key()[0])
    (tmp_path / "token").write_text("of-the-platform")
    async with FlowService() as service:
        service.answers[path] = [LOGIN if path == "/api/login" else ISSUED]
        described = re.sub(r"https://sso\.example\.com", service.url, described)
        config = write_recipe(tmp_path, described, url=service.url, **credentials)
        config.chmod(0o600)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        words = ["token", "tested", "--config", str(config)]
        ended = await asyncio.to_thread(CliRunner().invoke, cli, words)
        assert ended.exception is None, ended.output
        basic = base64.b64encode(b"ann:p").decode()
        assert ended.stdout == f"{basic if title.startswith('Basic') else 'the-token'}\n"
        assert len(service.seen) == (1 if path else 0)


WITH_A_PERSON = {"OAuth 2.0": 1, "A login in a browser": 0}


@pytest.mark.parametrize("title", WITH_A_PERSON)
async def test_berlin_login(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`berlin login` logs a person in as the page shows; `berlin token` then asks nobody."""
    described = code_blocks(PAGE.partition(f"\n### {title}\n")[2], "toml")[WITH_A_PERSON[title]]
    opened: list[str] = []

    def open_page(url: str) -> bool:
        opened.append(url)
        Thread(target=lambda: urlopen(url).close(), daemon=True).start()  # loopback
        return True

    monkeypatch.setattr("webbrowser.open", open_page)
    monkeypatch.setenv("BROWSER", "a-browser")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.delenv("SSH_TTY", raising=False)
    async with IdentityService(lifetime=3600) as service:
        code = {
            "device_code": "d",
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://x.example",
        }
        service.answers["/oauth/device"] = [reply({**code, "expires_in": 60, "interval": 1})]
        service.answers["/oauth/token"] = [ISSUED]
        for url in ("https://sso.example.com/realms/work", "https://sso.example.com"):
            described = described.replace(url, service.url)
        config = write_recipe(tmp_path, described, url=service.url, client_id="public")
        config.chmod(0o600)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        words = ["tested", "--config", str(config)]
        ended = await asyncio.to_thread(CliRunner().invoke, cli, ["login", *words])
        assert ended.exception is None, ended.output
        assert opened or "enter the code WDJB-MJHT" in ended.stderr
        asked = len(service.seen)
        token = await asyncio.to_thread(CliRunner().invoke, cli, ["token", *words])
        assert token.stdout == ("access-1\n" if opened else "the-token\n")
        assert len(service.seen) == asked
        assert service.violations == []


async def test_credentials_for_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--for` prints what kubectl's exec plugins and docker's credential helpers have to print."""
    auth = '[auth]\nflow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "/token"\n'
    async with FlowService() as service:
        service.answers["/token"] = [ISSUED]
        config = write_recipe(tmp_path, auth, url=service.url, **CLIENT)
        config.chmod(0o600)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        words = ["token", "tested", "--config", str(config), "--for"]
        before = time.time()
        kubectl = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "kubectl"])
        docker = await asyncio.to_thread(
            CliRunner().invoke, cli, [*words, "docker"], input="registry.example.com\n"
        )
        assert len(service.at("/token")) == 1
    found = json.loads(kubectl.stdout)
    at = datetime.fromisoformat(found["status"].pop("expirationTimestamp"))
    assert before + 58 < at.timestamp() < before + 90
    assert found == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "the-token"},
    }
    assert json.loads(docker.stdout) == {
        "ServerURL": "registry.example.com",
        "Username": "<token>",
        "Secret": "the-token",
    }
