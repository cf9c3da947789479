"""Workers: as many as cores, each core with its share of the service and of the clients.

One worker on one core is compared with two on two cores, and so on. Both cores also carry the
service (nginx, which returns the same bytes each time) and the load (wrk), which cost little, so
that nearly all is the workers'.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from of_gateways import SHORT, Gateway, Gateways, ask_load
from peers import installed
from process import BESIDE, HERE, Program, free_port, pinned, wait_for_port
from service import berlin_parts
from table import Rounds, Target, at_least, targets

ROUNDS, SECONDS = 5, 2
CLIENTS_EACH = 128

SERVICE = """
daemon off; worker_processes {cores}; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}; keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location ~ /api/login$ {{ return 200 '{{"data":{{"token":"bench"}}}}'; }}
    location ~ /api/chat/completions$ {{
      default_type application/x-ndjson;
      ssi on; ssi_types application/x-ndjson;  # so it is sent in chunks
      return 200 '{answer}';
    }}
  }}
}}
"""
REQUEST = """
wrk.method, wrk.body = "POST", [[{body}]]
wrk.headers["Content-Type"] = "application/json"
"""


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets; there are no peers."""
    del with_peers
    nginx, wrk = installed("nginx", "nginx-light"), installed("wrk", "wrk")
    if nginx is None or wrk is None:
        return "Not measured: nginx or wrk is missing.", []
    most = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8) if count <= most]
    rounds = Rounds()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = stack.enter_context(Program([sys.executable, str(HERE / "load.py")], BESIDE))
        gateways = {count: _open(stack, folder, nginx, count) for count in counts}
        time.sleep(1)
        for number in range(ROUNDS + 1):
            for count, gateway in gateways.items():
                ask_load(load, gateway, SHORT, 1, 1)  # which checks the answer's text
                before = gateway.program.cpu_s()
                answers, seconds = _run(wrk, folder, gateway, count)
                cpu = gateway.program.cpu_s() - before
                if number:
                    figures = {"streams": answers / seconds, "cpu": cpu / answers * 1e6}
                    rounds.add(_name(count), figures)
        memory = {count: gateway.program.shared_mb() for count, gateway in gateways.items()}
    columns = {
        "streams": ("streams/s", "{:,.0f}".format),
        "cpu": ("CPU µs a stream", "{:,.0f}".format),
    }
    met = [
        at_least(
            f"{_name(count)} / {_name(1)}, streams/s",
            0.9 * count,
            rounds.ratio(_name(count), _name(1), "streams"),
        )
        for count in counts[1:2]
    ]
    each = ", ".join(f"{_name(count)}: {value:.0f} MB" for count, value in memory.items())
    text = (
        f"Short streams, 16 pieces at once, {CLIENTS_EACH} clients for each worker. The service "
        "(nginx, which always returns the same answer) and the clients (wrk) share the cores.\n\n"
        f"{rounds.table(columns, _name(1))}\n\n"
        f"Memory after it, with the parent, shared pages once: {each}.\n\n{targets(met)}"
    )
    return text, met


def _open(stack: ExitStack, folder: Path, nginx: str, count: int) -> Gateway:
    """Start a service and a gateway with as many workers, on as many cores."""
    cores, port = _cores(count), free_port()
    conf = folder / f"service{count}.conf"
    answer = b"".join(berlin_parts(int(SHORT.rpartition("/")[2]))).decode()
    conf.write_text(SERVICE.format(cores=count, folder=folder, port=port, answer=answer))
    service = stack.enter_context(Program([nginx, "-c", str(conf), "-p", str(folder)], cores))
    wait_for_port(port, 10)
    every = Gateways(stack, folder, f"http://127.0.0.1:{port}", service)
    return every.berlin(f"workers{count}", full=False, workers=count, core=cores)


def _run(wrk: str, folder: Path, gateway: Gateway, count: int) -> tuple[int, float]:
    """Return how many answers were received, and in how many seconds."""
    script = folder / "request.lua"
    script.write_text(REQUEST.format(body=json.dumps(gateway.ask(SHORT)["body"])))
    clients = CLIENTS_EACH * count
    command = [wrk, f"-t{count}", f"-c{clients}", f"-d{SECONDS}s", "--timeout", "30s"]
    url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
    done = subprocess.run(
        [*pinned(_cores(count)), *command, "-s", str(script), url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found = re.search(r"(\d+) requests in ([\d.]+)s", done)
    if found is None or "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"wrk: {done}")
    return int(found[1]), float(found[2])


def _cores(count: int) -> str:
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:count]))


def _name(count: int) -> str:
    return "1 worker, 1 core" if count == 1 else f"{count} workers, {count} cores"
