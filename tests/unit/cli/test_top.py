"""What `berlin top` makes of pages of metrics."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner

from berlin.cli.gateway.top.command import top
from berlin.cli.gateway.top.scrape import Change, Scrape
from berlin.cli.gateway.top.view import COLUMNS, headlines, rows
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.catalog import Catalog, Service
from berlin.gateway.chat import Gateway
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.serving.server import open_server
from berlin.providers.scripted import ScriptedProvider

BEFORE = r"""
# HELP berlin_requests_total Requests at their end.
berlin_requests_total{face="openai",provider="a",outcome="ok",status="200"} 100.0
berlin_requests_total{face="openai",provider="b",outcome="ok",status="200"} 7
berlin_first_event_seconds_bucket{provider="a",le="0.1"} 10
berlin_first_event_seconds_bucket{provider="a",le="1.0"} 10
berlin_first_event_seconds_bucket{provider="a",le="+Inf"} 10
"""
NOW = r"""
berlin_requests_total{face="openai",provider="a",outcome="ok",status="200"} 110.0
berlin_requests_total{face="openai",provider="a",outcome="rate_limit_exceeded",status="429"} 4
berlin_requests_total{face="openai",provider="b",outcome="ok",status="200"} 3
berlin_first_event_seconds_bucket{provider="a",le="0.1"} 10
berlin_first_event_seconds_bucket{provider="a",le="1.0"} 20
berlin_first_event_seconds_bucket{provider="a",le="+Inf"} 20
berlin_open_requests{provider="a"} 2
berlin_open_requests{provider="b"} 5
berlin_open_streams{face="openai"} 6
berlin_waiting{provider="b"} 1
berlin_circuit{provider="b"} 2
berlin_workers 2
berlin_workers_ready 1
berlin_worker_restarts_total 3
not a metric at all {
odd{name="a \"quoted\" \\ name"} NaN
"""


@pytest.fixture
def change() -> Change:
    """Two pages, two seconds apart."""
    return Change(Scrape(BEFORE, 10.0), Scrape(NOW, 12.0))


def test_rates_and_quantiles(change: Change) -> None:
    """Counters become rates; a smaller one was restarted; a quantile is of what is new."""
    assert change.rate("berlin_requests_total", provider="a") == 7.0
    assert change.added("berlin_requests_total", provider="b") == 3
    assert change.quantile("berlin_first_event_seconds", 0.5, provider="a") == pytest.approx(0.55)
    assert change.quantile("berlin_first_event_seconds", 0.5, provider="b") is None


def test_the_page_may_have_anything(change: Change) -> None:
    """Escapes in labels are read, and lines that are no metrics are left out."""
    assert list(change.now.by("odd", "name")) == ['a "quoted" \\ name']
    assert "not" not in change.now


def test_rows_and_headlines(change: Change) -> None:
    """The busiest provider comes first; an open breaker, workers and limits are shown."""
    shown = rows(change)
    assert [row[0] for row in shown] == ["b", "a"]
    assert {len(row) for row in shown} == {len(COLUMNS)}
    assert (shown[0][1], shown[0][2], shown[0][-1]) == ("5", "1", "open")
    lines = "\n".join(headlines(change, "http://g"))
    assert "workers 1/2, 3 restarts" in lines
    assert "streams 6 (openai 6)" in lines
    assert "rate_limit_exceeded 4" in lines


async def _run(*args: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, top, args)
    return result.exit_code, f"{result.output}{result.exception or ''}"


async def test_top_of_a_running_gateway() -> None:
    """One look at a real gateway prints its providers and ends."""
    metrics = PrometheusMetrics(["house"], ["openai"])
    catalog = Catalog([Service("house", ScriptedProvider(["Hi"]))])
    async with open_server(Gateway(catalog, metrics=metrics), Accounts(), grace_s=0) as url:
        code, said = await _run("--url", url, "--once", "--every", "0.2")
        assert code == 0, said
        assert "house" in said
        assert "streams 0" in said
        assert " ".join(said.split("provider", 1)[1].split()).startswith(
            "open waiting req/s events/s"
        )
    code, said = await _run("--url", url, "--once")
    assert code != 0
    assert "does not answer" in said


async def test_top_without_metrics_says_what_to_install() -> None:
    """A gateway without metrics, and an address that is none, are clear errors."""
    async with open_server(Gateway.of(ScriptedProvider([])), Accounts(), grace_s=0) as url:
        assert "berlin-llm[gateway]" in (await _run("--url", url, "--once"))[1]
    for url in ("file:///etc/passwd", "https://[x", "http://℀.com"):
        assert "the URL of the gateway" in (await _run("--url", url, "--once"))[1]
