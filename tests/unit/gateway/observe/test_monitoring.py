"""The dashboard and the alert rules: they name metrics and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from berlin.gateway.observe.ledger_metrics import LedgerMetrics
from berlin.gateway.observe.metrics import PrometheusMetrics
from berlin.gateway.observe.over_workers import _Workers
from berlin.gateway.workers.worker import Worker

FOLDER = Path(__file__).parents[4] / "docs" / "monitoring"
_METRIC = re.compile(r"\bberlin_[a-z_]+")
_LABELS = re.compile(r"by \(([a-z, ]+)\)|\{([a-z]+)[!=~]")


def known(tmp_path: Path) -> dict[str, set[str]]:
    """Return the labels of every metric of the gateway."""
    registry = PrometheusMetrics(["work"], ["openai"])._registry
    LedgerMetrics(registry)
    names: dict[str, set[str]] = {}
    for collector in list(registry._collector_to_names):
        for name in registry._collector_to_names[collector]:
            names[name] = set(getattr(collector, "_labelnames", ()))
    for family in _Workers(Worker(0, tmp_path)).collect():
        names |= {family.name: set(), f"{family.name}_total": set()}
    return names


def expressions(file: str) -> list[str]:
    """Return the expressions of a file."""
    text = (FOLDER / file).read_text("utf-8")
    if file.endswith(".json"):
        panels = json.loads(text)["panels"]
        return [target["expr"] for panel in panels for target in panel["targets"]]
    return re.findall(r"expr: (?:>-\n)?(.+?)\n +(?:for|labels):", text, re.DOTALL)


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_they_name_what_exists(file: str, tmp_path: Path) -> None:
    """Each expression has metrics of the gateway, and labels that those metrics have."""
    metrics = known(tmp_path)
    found = expressions(file)
    assert len(found) >= 10
    for expression in found:
        names = _METRIC.findall(expression)
        assert names, expression
        assert set(names) <= metrics.keys(), expression
        has = set.union(*(metrics[name] for name in names)) | {"le"}
        labels = [a or b for a, b in _LABELS.findall(expression)]
        assert {label for some in labels for label in some.split(", ")} <= has, expression


def test_the_alerts_are_yaml_of_the_plain_kind() -> None:
    """Each rule has a name of its own, an expression and a summary."""
    text = (FOLDER / "alerts.yml").read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)\n", text)
    assert len(set(alerts)) == len(alerts) == text.count("expr:") == text.count('summary: "')
    assert "\t" not in text


def test_every_metric_of_the_ledger_is_shown(tmp_path: Path) -> None:
    """The dashboard has the whole ledger."""
    shown = (FOLDER / "grafana.json").read_text("utf-8") + (FOLDER / "alerts.yml").read_text()
    registry = CollectorRegistry()
    LedgerMetrics(registry)
    names = {name for names in registry._collector_to_names.values() for name in names}
    wanted = {name for name in names if not name.endswith("_created")}
    wanted -= {name.removesuffix("_total") for name in wanted if name.endswith("_total")}
    assert wanted <= set(_METRIC.findall(shown))
