"""Metrics: what is counted, and that clients cannot make labels."""

from __future__ import annotations

import sys

import pytest

from berlin.errors import BerlinError, ConfigurationError, TLSError, UpstreamTimeoutError
from berlin.gateway.observe.metrics import PrometheusMetrics, open_metrics
from berlin.gateway.observe.visit import Visit


def lines(metrics: PrometheusMetrics) -> dict[str, float]:
    """Return the samples of a page, without those of the time they were made."""
    body, content_type = metrics.render()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    samples = [line.rsplit(" ", 1) for line in body.decode().splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in samples if "_created" not in name}


def some() -> PrometheusMetrics:
    """Return metrics of one provider and two faces."""
    return PrometheusMetrics(["berlin"], ["openai", "ollama"])


def visit(
    *,
    face: str,
    provider: str,
    status: int,
    seconds: float = 1.0,
    first_event_s: float | None = None,
    events: int = 0,
    error: BerlinError | None = None,
) -> Visit:
    """Return a visit that has ended."""
    made = Visit("POST", "/v1/chat/completions", "127.0.0.1", {})
    made.face, made.provider, made.status = face, provider, status
    made.seconds, made.events, made.error = seconds, events, error
    if first_event_s is not None:
        made.first_event_at = made.began_at + first_event_s
    return made


def test_request_is_counted_at_its_end() -> None:
    """One call counts the request, its time, its first event and its events."""
    metrics = some()
    metrics.ended(
        visit(
            face="openai",
            provider="berlin",
            status=200,
            seconds=2.0,
            first_event_s=0.2,
            events=7,
        )
    )
    got = lines(metrics)
    labels = 'face="openai",outcome="ok",provider="berlin",status="200"'
    assert got[f"berlin_requests_total{{{labels}}}"] == 1
    assert got['berlin_events_total{provider="berlin"}'] == 7
    assert got['berlin_first_event_seconds_bucket{le="0.1",provider="berlin"}'] == 0
    assert got['berlin_first_event_seconds_bucket{le="0.25",provider="berlin"}'] == 1
    assert got['berlin_request_seconds_sum{face="openai",provider="berlin"}'] == 2


def test_request_without_events() -> None:
    """A request that failed before its first event is in no statistics of first events."""
    metrics = some()
    late = UpstreamTimeoutError("too late")
    metrics.ended(visit(face="openai", provider="berlin", status=504, error=late))
    got = lines(metrics)
    labels = 'face="openai",outcome="upstream_timeout",provider="berlin",status="504"'
    assert got[f"berlin_requests_total{{{labels}}}"] == 1
    assert not [name for name in got if "first_event" in name or "events_total" in name]


def test_gauges_and_counters() -> None:
    """Open answers go up and down; errors, logins and waiting requests are counted."""
    metrics = some()
    metrics.set_streams({"openai": 2})
    metrics.set_streams({"openai": 1})
    metrics.ended(visit(face="openai", provider="berlin", status=502, error=TLSError("bad")))
    metrics.end_login("berlin", "ok")
    metrics.end_login("berlin", "upstream_authentication")
    metrics.set_requests("berlin", 5, 3)
    metrics.set_requests("berlin", 5, 2)
    got = lines(metrics)
    assert got['berlin_open_streams{face="openai"}'] == 1
    assert got['berlin_upstream_errors_total{code="upstream_tls",provider="berlin"}'] == 1
    assert got['berlin_logins_total{provider="berlin",result="ok"}'] == 1
    assert got['berlin_logins_total{provider="berlin",result="upstream_authentication"}'] == 1
    assert got['berlin_waiting{provider="berlin"}'] == 2


def test_g46_labels_are_bounded() -> None:
    """Ten thousand names that clients wrote make one more series each, not ten thousand."""
    metrics = some()
    before = 0
    for n in range(10_000):
        error = UpstreamTimeoutError("too late")
        error.code = f"o{n}"
        metrics.ended(visit(face=f"face{n}", provider=f"p{n}", status=600 + n, error=error))
        metrics.set_streams({f"face{n}": n})
        metrics.end_login(f"p{n}", f"r{n}")
        metrics.set_requests(f"p{n}", n, n)
        if n == 0:
            before = len(lines(metrics))
    got = lines(metrics)
    assert len(got) == before < 40
    labels = 'face="other",outcome="other",provider="other",status="other"'
    assert got[f"berlin_requests_total{{{labels}}}"] == 10_000


def test_g46_what_a_client_wrote_is_not_shown() -> None:
    """Neither a name with quotes nor a secret in one reaches the page."""
    metrics = some()
    metrics.ended(visit(face='x"} 1', provider="bk-secret", status=200))
    body = metrics.render()[0]
    assert b"secret" not in body
    assert b"x\\" not in body


def test_later_providers_are_known() -> None:
    """A provider that comes with a new configuration has a label of its own."""
    metrics = some()
    metrics.know(["berlin", "later"])
    metrics.end_login("later", "ok")
    assert lines(metrics)['berlin_logins_total{provider="later",result="ok"}'] == 1


def test_gateways_do_not_share_metrics() -> None:
    """Two gateways in one process count for themselves, and nothing is in the global registry."""
    from prometheus_client import REGISTRY

    first, second = some(), some()
    first.set_streams({"openai": 1})
    assert lines(second) == {}
    assert not [m for m in REGISTRY.collect() if m.name.startswith("berlin")]


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants metrics and has no library for them is told how to get it; others need none."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'berlin-llm\[gateway\]'"):
        open_metrics(True, [], [])
    assert open_metrics(False, [], []) is None
    assert open_metrics(None, [], []) is None
