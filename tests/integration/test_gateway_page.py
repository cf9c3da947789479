"""The page at `/` of the gateway, for people with a browser and clients that ask if it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.gateway.catalog import Service
from berlin.gateway.serving.page import _examples, render
from berlin.providers.guide import GuideProvider
from support.gateway import make_key, serve

HTML = "text/html,application/xhtml+xml"


def services() -> tuple[Service, ...]:
    guide = GuideProvider()
    return (Service("s", guide, models=("m1", "m2")),)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_clients_that_ask_if_it_runs(method: str) -> None:
    """`GET /` and `HEAD /` are 200 without a key: Ollama's client begins so."""
    async with serve(*services()) as at:
        answer = await at.get("/", method)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.data == (b"" if method == "HEAD" else answer.data)
    assert method == "HEAD" or answer.data.startswith(b"Berlin is running.")


async def test_a_browser_sees_what_this_is_and_how_to_connect() -> None:
    """The page names the models, the two base URLs, and each client with this very address."""
    async with serve(*services()) as at:
        answer = await at.get("/", Accept=HTML)
    page = answer.data.decode()
    assert answer.headers["Content-Type"].startswith("text/html")
    assert f"<code>{at.url}/v1</code>" in page
    assert "<code>s:m1</code>" in page
    assert "<summary>Claude Code</summary>" in page
    assert "http://127.0.0.1:4114" not in page
    assert page.count("<details>") == len(_examples()) >= 10


async def test_w04_w09_w13_w14_the_page_loads_and_runs_nothing() -> None:
    """No script, no resource of others, no frame: the headers forbid them, and it has none."""
    async with serve(*services()) as at:
        answer = await at.get("/", Accept=HTML)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"<script" not in answer.data
    assert b"src=" not in answer.data


async def test_w06_without_a_key_no_models_are_named(tmp_path: Path) -> None:
    """Where keys are needed, the page without one says nothing of models; with one, its own."""
    path = tmp_path / "keys.sqlite"
    key = make_key(path, "alice", "s:m1")
    async with serve(*services(), keys=path) as at:
        for _ in range(30):  # not counted as wrong keys
            anonymous = await at.get("/", Accept=HTML)
        known = await at.get("/", Accept=HTML, Authorization=f"Bearer {key}")
    assert anonymous.status == known.status == 200
    assert b"m1" not in anonymous.data
    assert b"They are listed for those who have a key" in anonymous.data
    assert b"s:m1" in known.data
    assert b"m2" not in known.data


async def test_a_foreign_host_sees_no_page() -> None:
    """A page under a foreign name (DNS rebinding) is refused as every request is."""
    async with serve(*services()) as at:
        answer = await at.get("/", Accept=HTML, Host="evil.example")
    assert answer.status == 421


def test_w05_names_cannot_become_markup() -> None:
    """Names of models and the address are text on the page."""
    page = render('http://a.example"><script>', ["<b>m</b>"])
    assert "<script>" not in page
    assert "<b>m" not in page
