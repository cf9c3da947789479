"""The dashboard and the alert rules name metrics and labels that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.workers.board import Board
from berlin.gateway.workers.worker import Worker
from berlin.ledger.writer import LedgerCounts
from support.manual import ROOT

FOLDER = ROOT / "docs" / "observability"
# Labels that Prometheus adds, or that belong to histograms.
OF_PROMETHEUS = {"job", "instance", "le"}


def _exist(tmp_path: Path) -> dict[str, set[str]]:
    """Return all series with their labels."""
    Board(tmp_path / "board", 2).close()
    metrics = PrometheusMetrics(["p"], ["openai"], Worker(0, tmp_path))
    metrics.set_ledger(LedgerCounts())
    found: dict[str, set[str]] = {}
    for family in metrics.collect():
        for ending in ("", "_total", "_bucket", "_sum", "_count"):
            found[f"{family.name}{ending}"] = set(family._labelnames)
    return found


def _expressions() -> Iterator[str]:
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]
    rules = (FOLDER / "prometheus-alerts.yml").read_text("utf-8")
    # One line, or a block of lines that are indented further.
    for block, line in re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", rules):
        yield block or line


def test_every_metric_and_label_exists(tmp_path: Path) -> None:
    """A renamed metric breaks this test, not somebody's alert."""
    known, checked = _exist(tmp_path), 0
    for expression in _expressions():
        for name in re.findall(r"\bberlin_\w+", expression):
            assert name in known, expression
            checked += 1
        labels = re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", expression)
        for by in re.findall(r"by \(([^)]*)\)", expression):
            labels += [word.strip() for word in by.split(",")]
        names = re.findall(r"\bberlin_\w+", expression)
        allowed = OF_PROMETHEUS.union(*(known[name] for name in names))
        assert set(labels) <= allowed, expression
    assert checked > 25


def test_every_metric_is_shown(tmp_path: Path) -> None:
    """The dashboard and the rules leave no metric out, and the manual names each."""
    text = "".join(_expressions())
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    for name in _exist(tmp_path):
        if name.endswith(("_bucket", "_sum", "_count", "_total")) or not name.startswith("berlin"):
            continue
        assert f"{name}" in text or f"{name}_total" in text, name
        assert name in page, name
