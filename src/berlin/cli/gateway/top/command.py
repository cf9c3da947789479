"""The command `berlin top`."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

import click

from berlin.cli.gateway.top.scrape import Change, Scrape
from berlin.cli.gateway.top.view import render
from berlin.cli.options import config_option, load_for_commands
from berlin.errors import ConfigurationError, ConnectError, KeyRefusedError
from berlin.types import split_url

TIMEOUT_S = 5.0
MAX_PAGE_BYTES = 8 * 1024 * 1024


@click.command()
@click.option("--url", metavar="URL", help="The gateway (default: the configured one).")
@click.option(
    "--key-stdin",
    is_flag=True,
    help="Read an API key from standard input, instead of BERLIN_KEY in the environment.",
)
@click.option(
    "--every",
    type=click.FloatRange(0.2, 3600),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two readings.",
)
@click.option("--once", is_flag=True, help="Read twice, print the changes, and exit.")
@config_option
def top(url: str | None, key_stdin: bool, every: float, once: bool, config: Path | None) -> None:
    """Show a running gateway: its streams, providers, circuit breakers and limits.

    It reads `/metrics`, of all workers together. Ctrl-C ends it.
    """
    from rich.console import Console
    from rich.live import Live

    base = (url or load_for_commands(config).server.url).rstrip("/")
    key = sys.stdin.readline().strip() if key_stdin else os.environ.get("BERLIN_KEY")
    console = Console()
    before = fetch(base, key)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            if console.is_terminal and not once:
                live.update(render(Change(before, before), base), refresh=True)
            time.sleep(every)
            now = fetch(base, key)
            live.update(render(Change(before, now), base), refresh=True)
            before = now
            if once or not sys.stdout.isatty():
                return


def fetch(base: str, key: str | None) -> Scrape:
    """Read the metrics of a gateway.

    Raises:
        ConnectError: if it does not answer.
        KeyRefusedError: if it wants another key.
        ConfigurationError: if it is not the address of a gateway with metrics.
    """
    split_url(base, "the URL of the gateway", ("http", "https"))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base}/metrics", headers=headers)  # noqa: S310  # http(s)
    # No proxy, and no redirect: both would send the key elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            text = answer.read(MAX_PAGE_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise KeyRefusedError(
                f"{base} requires a key: set BERLIN_KEY or use --key-stdin"
            ) from error
        raise ConfigurationError(f"{base}/metrics answered with status {error.code}") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or reason
        raise ConnectError(f"{base} does not answer: {said}") from error
    if "berlin_" not in text:
        raise ConfigurationError(
            f"{base} has no metrics: they need prometheus-client "
            "(pip install 'berlin-llm[gateway]')"
        )
    return Scrape(text, time.monotonic())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        """Follow none."""
