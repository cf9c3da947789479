"""The gateway: `berlin serve`, relays that do nothing else, and the gateways of others."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from peers import installed, portkey, python_of, version_of
from process import BESIDE, HERE, MEASURED, Program, free_port, open_service, wait_for_port
from table import Rounds, Target, at_least, at_most, targets

ROUNDS = 5
STARTS_S = 90.0
SHORT, PACED, OPEN = "burst/16", "paced/20/150", "paced/2000/10"
LOADS = {"short": SHORT, "paced": PACED, "open": OPEN}

BARE, OFF, ON, DIRECT = "bare aiohttp.web relay", "berlin serve", "berlin serve, all on", "service"
NGINX, PROTOCOL = "nginx (no translation)", "bare asyncio.Protocol"

CONFIG = """
default = "short"
[server]
port = {port}
metrics = {metrics}
max_connections = 100_000
header_timeout_s = 120
{more}
"""
FULL = """
access_log = "{home}/access.log"
[ledger]
url = "sqlite:///{home}/ledger.sqlite"
[limits]
keys = ["1000000000 tokens/day"]
"""
PROVIDER = """
[providers.{name}]
url = "{url}/{load}"
account = "bench"
password = {{ env = "BENCH_PASSWORD" }}
models = ["{load}"]
at_once = 100_000
"""
NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream service {{ server {host}; keepalive 256; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 1000000;
    location / {{
      proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


class Gateway(NamedTuple):
    """A program, and how it is asked for a load."""

    program: Program
    port: int
    ask: Callable[[str], dict[str, Any]]


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        service, url = open_service()
        stack.enter_context(service)
        load = stack.enter_context(Program([sys.executable, str(HERE / "load.py")], BESIDE))
        every = Gateways(stack, Path(folder), url, service)
        fast = {
            DIRECT: every.direct(),
            BARE: every.relay("bare.py"),
            OFF: every.berlin("off", full=False),
            ON: every.berlin("on", full=True),
            PROTOCOL: every.relay("protocol.py"),
            **every.nginx(),
        }
        time.sleep(1)
        idle = fast[OFF].program.memory_mb()
        slow = every.others() if with_peers else {}
        paced = _paced(load, fast)
        streaming = fast[OFF].program.memory_mb()
        short = _short(load, fast, slow)
        first = _first(load, fast)
        ready = sorted(every.seconds_to_ready() for _ in range(5))[2]
    columns = {
        "streams": ("streams/s", "{:,.0f}".format),
        "cpu": ("CPU µs a stream", "{:,.0f}".format),
    }
    paced_columns = {"cpu": ("CPU µs a chunk", "{:.1f}".format)}
    first_columns = {
        "p50": ("p50 µs, added", "{:,.0f}".format),
        "p99": ("p99 µs, added", "{:,.0f}".format),
    }
    told = {name.split()[0]: name for name in slow}

    def times(peer: str) -> float | None:
        return short.ratio(OFF, told[peer], "streams") if peer in told else None

    # Both kinds of load: a short stream is nothing but its beginning and its end.
    cost, paced_cost = short.ratio(ON, OFF, "cpu"), paced.ratio(ON, OFF, "cpu")
    met = [
        at_least("short streams/s / bare relay", 0.7, short.ratio(OFF, BARE, "streams")),
        at_most("paced, 200 streams: CPU a chunk / bare relay", 1.3, paced.ratio(OFF, BARE, "cpu")),
        at_most("time to the first event, p50 / relay", 1.3, first.ratio(OFF, BARE, "p50")),
        at_most("time to the first event, p99 / relay", 1.3, first.ratio(OFF, BARE, "p99")),
        at_most("ledger, keys, limits, metrics and log on / off, CPU a stream", 1.2, cost),
        at_most("ledger, keys, limits, metrics and log on / off, paced", 1.2, paced_cost),
        at_most("memory, idle", 50, idle, " MB"),
        at_most("memory, 200 streams", 75, streaming, " MB"),
        at_most("ready to serve", 0.6, ready, " s"),
    ]
    if with_peers:
        met[1:1] = [
            at_least("short streams/s / LiteLLM proxy", 50, times("LiteLLM")),
            at_least("short streams/s / Portkey", 6, times("Portkey")),
        ]
    parts = (
        "### Short streams: 16 pieces at once, 32 clients (others: 8)\n",
        short.table(columns, BARE),
        "\n### Paced: one piece each 20 ms, 200 streams\n",
        paced.table(paced_columns, BARE),
        "\n### Time to the first event, one client, beyond the service's own\n",
        first.table(first_columns, BARE),
        "\n" + targets(met),
    )
    return "\n".join(parts), met


def ask_load(
    load: Program, gateway: Gateway, path: str, streams: int, at_once: int, **more: Any
) -> Any:
    pieces = int(path.rpartition("/")[2])
    asked = {"path": "/v1/chat/completions", **gateway.ask(path)}
    return load.ask(
        port=gateway.port, streams=streams, at_once=at_once, pieces=pieces, **asked, **more
    )


def _short(load: Program, fast: dict[str, Gateway], slow: dict[str, Gateway]) -> Rounds:
    rounds = Rounds()
    for number in range(ROUNDS + 1):
        for name, gateway in (*fast.items(), *slow.items()):
            streams, at_once = (2000, 32) if name in fast else (100, 8)
            before = gateway.program.cpu_s()
            got = ask_load(load, gateway, SHORT, streams, at_once)
            cpu = gateway.program.cpu_s() - before
            if number:
                figures = {"streams": streams / got["wall"], "cpu": cpu / streams * 1e6}
                rounds.add(name, figures)
    return rounds


def _paced(load: Program, fast: dict[str, Gateway]) -> Rounds:
    rounds = Rounds()
    pieces = int(PACED.rpartition("/")[2])
    for number in range(ROUNDS + 1):
        for name, gateway in fast.items():
            if name == DIRECT:
                continue
            before = gateway.program.cpu_s()
            ask_load(load, gateway, PACED, 200, 200)
            if number:
                cpu = gateway.program.cpu_s() - before
                rounds.add(name, {"cpu": cpu / (200 * pieces) * 1e6})
    return rounds


def _first(load: Program, fast: dict[str, Gateway]) -> Rounds:
    rounds = Rounds()
    for number in range(ROUNDS + 1):
        own: list[float] = []
        for name, gateway in fast.items():
            got = sorted(ask_load(load, gateway, SHORT, 400, 1, pause_s=0.002)["firsts"])
            mine = [got[len(got) // 2] * 1e6, got[int(len(got) * 0.99)] * 1e6]
            own = mine if name == DIRECT else own
            if number and name != DIRECT:
                rounds.add(name, {"p50": mine[0] - own[0], "p99": mine[1] - own[1]})
    return rounds


class Gateways:
    """Starts what is measured."""

    def __init__(self, stack: ExitStack, folder: Path, url: str, service: Program) -> None:
        self._stack = stack
        self._folder = folder
        self._url = url
        self._service = service

    def direct(self) -> Gateway:
        """Return the service itself: the ceiling of what the load can show."""
        port = int(self._url.rpartition(":")[2])
        return Gateway(self._service, port, _through)

    def relay(self, script: str) -> Gateway:
        """Start one of the relays beside this file."""
        command = [sys.executable, str(HERE / "gateways" / script), self._url]
        program = self._start(command)
        return Gateway(program, int(program.line()), lambda path: {"body": _body(path)})

    def berlin(
        self, name: str, *, full: bool, workers: int = 0, core: int | str = MEASURED
    ) -> Gateway:
        """Start `berlin serve` on a core, or on several (`0,1`), as one process or as workers."""
        port, env = free_port(), self._configure(name, full=full)
        headers = {"Authorization": f"Bearer {_prepare_full(env)}"} if full else {}
        env_with_port = self._configure(name, full=full, port=port)
        command = [sys.executable, "-m", "berlin", "serve"]
        if workers:
            command += ["--workers", str(workers)]
        program = self._start(command, env_with_port, core)
        wait_until_ready(port)

        def ask(path: str) -> dict[str, Any]:
            provider = next(name for name, load in LOADS.items() if load == path)
            return {"body": _body(f"{provider}:{path}"), "headers": headers}

        return Gateway(program, port, ask)

    def nginx(self) -> dict[str, Gateway]:
        """Start nginx, which hands on what the service says in OpenAI's words."""
        found = installed("nginx", "nginx-light")
        if found is None:
            return {}
        port, conf = free_port(), self._folder / "nginx.conf"
        host = self._url.partition("://")[2]
        conf.write_text(NGINX_CONF.format(folder=self._folder, host=host, port=port))
        program = self._start([found, "-c", str(conf), "-p", str(self._folder)])
        wait_for_port(port, STARTS_S)
        return {NGINX: Gateway(program, port, _through)}

    def others(self) -> dict[str, Gateway]:
        """Start the gateways of others; each hands on OpenAI's wire."""
        started = {}
        for start in (self._litellm, self._portkey):
            try:
                started |= start()
            except (TimeoutError, OSError) as error:
                print(f"{start.__name__} does not start: {error}", file=sys.stderr)
        return started

    def _litellm(self) -> dict[str, Gateway]:
        python = python_of("litellm")
        if python is None:
            return {}
        port, config = free_port(), self._folder / "litellm.yaml"
        config.write_text(
            f"model_list:\n  - model_name: bench\n    litellm_params:\n      model: openai/bench\n"
            f"      api_base: {self._url}/{SHORT}/v1\n      api_key: bench\n"
        )
        command = [str(Path(python).with_name("litellm")), "--config", str(config)]
        key = f"sk-{secrets.token_hex(32)}"  # it does not start without one
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key}
        headers = {"Authorization": f"Bearer {key}"}
        program = self._start([*command, "--host", "127.0.0.1", "--port", str(port)], env)
        wait_for_port(port, STARTS_S)
        name = f"LiteLLM proxy {version_of('litellm', 'litellm')}"
        asked = {"body": _body("bench"), "headers": headers}
        return {name: Gateway(program, port, lambda path: asked)}

    def _portkey(self) -> dict[str, Gateway]:
        command = portkey()
        if command is None:
            return {}
        port = free_port()
        env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
        program = self._start([*command, f"--port={port}", "--headless"], env)
        wait_for_port(port, STARTS_S)
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"{self._url}/{SHORT}/v1",
            "Authorization": "Bearer bench",
        }
        return {
            "Portkey": Gateway(
                program, port, lambda path: {"body": _body("bench"), "headers": headers}
            )
        }

    def seconds_to_ready(self) -> float:
        """Return the seconds from the start of `berlin serve` until it says that it is ready."""
        port = free_port()
        env = self._configure("ready", full=False, port=port)
        began = time.perf_counter()
        with Program([sys.executable, "-m", "berlin", "serve"], MEASURED, env):
            wait_until_ready(port)
            return time.perf_counter() - began

    def _configure(self, name: str, *, full: bool, port: int = 0) -> dict[str, str]:
        home = self._folder / name
        home.mkdir(exist_ok=True)
        config = home / "berlin.toml"
        more = FULL.format(home=home) if full else ""
        text = CONFIG.format(port=port, metrics=str(full).lower(), more=more)
        for provider, load in LOADS.items():
            text += PROVIDER.format(name=provider, url=self._url, load=load)
        config.write_text(text)
        names = ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
        return {
            "BERLIN_CONFIG": str(config),
            "BENCH_PASSWORD": "bench",
            **dict.fromkeys(names, str(home)),
        }

    def _start(
        self, command: list[str], env: dict[str, str] | None = None, core: int | str = MEASURED
    ) -> Program:
        return self._stack.enter_context(Program(command, core, env))


def wait_until_ready(port: int) -> None:
    """Wait until a gateway is ready. Raises TimeoutError."""
    began = time.perf_counter()
    while time.perf_counter() - began < STARTS_S:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except urllib.error.URLError:
            time.sleep(0.005)
    raise TimeoutError("berlin serve does not get ready")


def _body(model: str) -> dict[str, Any]:
    return {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}


def _through(path: str) -> dict[str, Any]:
    return {"path": f"/{path}/v1/chat/completions", "body": _body(path)}


def _prepare_full(env: dict[str, str]) -> str:
    """Make the ledger's tables and a key with limits; return the key."""

    def berlin(*words: str) -> str:
        command, both = [sys.executable, "-m", "berlin", *words], {**os.environ, **env}
        return subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=both
        ).stdout

    berlin("ledger", "upgrade")
    return berlin("key", "add", "bench", "--rpm", "1000000").strip()
