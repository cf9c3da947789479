"""Metrics, alert rules and the dashboard, as Prometheus and Grafana's own libraries read them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

from berlin import Berlin
from berlin.gateway.catalog import Service
from berlin.gateway.observe.metrics import PrometheusMetrics
from support.chat_service import ChatService
from support.gateway import OPENAI, make_key, serve
from support.manual import ROOT, code_blocks, read

from .support.programs import PYTHON, SERVICES, run
from .support.prometheus import prometheus, promtool

FOLDER = ROOT / "docs" / "observability"
RULES = FOLDER / "prometheus-alerts.yml"
DASHBOARD = FOLDER / "grafana-dashboard.json"


def shown() -> Iterator[str]:
    """Give the expressions of the dashboard, with Grafana's variables replaced."""
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        for target in panel["targets"]:
            yield re.sub(r"\$\w+", ".*", target["expr"].replace("$__rate_interval", "1m"))


def alerts() -> list[str]:
    """Return the expressions of the alert rules."""
    found = re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*)\n)", RULES.read_text("utf-8"))
    return [block or line for block, line in found]


async def test_prometheus_scrapes_a_gateway(tmp_path: Path) -> None:
    """With the configuration of the manual it reads all metrics; each expression of the dashboard
    and of the rules is one that it evaluates, and what a request causes is in the answers."""
    key = make_key(tmp_path / "keys.sqlite", "scraper")
    (tmp_path / "key").write_text(key)
    [scrape] = code_blocks(read("docs/observability.md"), "yaml")
    async with (
        ChatService() as service,
        Berlin(service.url, "account", "password", allow_http=True) as provider,
        serve(
            Service("s", provider, ["m1"]),
            keys=tmp_path / "keys.sqlite",
            metrics=PrometheusMetrics(["s"], ["openai"]),
        ) as at,
    ):
        at.key = key
        assert (await at.ask(OPENAI, stream=True)).status == 200
        page = (await at.get("/metrics")).data.decode()
        await promtool("check", "metrics", given=page)
        await promtool("check", "rules", RULES)
        scrape = scrape.replace("/etc/prometheus/berlin.key", str(tmp_path / "key"))
        scrape = scrape.replace("gateway.internal:4114", at.url.removeprefix("http://"))
        config = f"global: {{ scrape_interval: 100ms }}\nrule_files: [{RULES}]\n{scrape}"
        async with prometheus(tmp_path, config) as server:
            async with asyncio.timeout(30):
                # A rate needs two looks.
                while not await server.query("rate(berlin_requests_total[1m])"):
                    await asyncio.sleep(0.05)
            results = {expression: await server.query(expression) for expression in shown()}
            for expression in alerts():
                assert not await server.query(expression), expression  # nothing is wrong
    assert any("berlin_requests_total" in one and found for one, found in results.items())
    assert any("berlin_first_event_seconds" in one and found for one, found in results.items())


async def test_grafana_knows_every_member_of_the_dashboard(tmp_path: Path) -> None:
    """Grafana's own library reads the dashboard, and writes it again without losing anything."""
    program = SERVICES / "support" / "dashboard_program.py"
    code, out, err = await run(tmp_path, PYTHON, program, DASHBOARD)
    assert (code, out) == (0, "[]\n"), err


async def test_the_dashboard_fits_the_screen() -> None:
    """Panels have ids of their own, and none covers another."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


async def test_kubernetes_accepts_the_manifests(tmp_path: Path) -> None:
    """Each member of the manual's manifests exists, with a value of its type."""
    [manifests] = [b for b in code_blocks(read("docs/operations.md"), "yaml") if "kind:" in b]
    (tmp_path / "berlin.yaml").write_text(manifests)
    validate = PYTHON.parent / "kubernetes-validate"
    code, out, err = await run(tmp_path, validate, "--strict", "berlin.yaml")
    assert code == 0, err
    assert (out + err).count("passed") == 2
