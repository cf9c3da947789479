"""The client: Berlin from Python, beside a bare reader and the libraries of others."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack

from peers import python_of, version_of
from process import HERE, MEASURED, Program, open_service, pinned
from table import Rounds, Target, at_least, at_most, targets

ROUNDS = 5

OURS = {
    "bare aiohttp, Berlin's wire": ["bare.py", "berlin", "read"],
    "Berlin.text": ["berlin_.py", "berlin", "read"],
    "bare aiohttp, OpenAI's wire": ["bare.py", "openai", "read"],
    "Berlin.text, recipe openai": ["berlin_.py", "openai", "read"],
}
WHOLE = {
    "bare aiohttp and json": ["bare.py", "berlin", "whole"],
    "Berlin.ask": ["berlin_.py", "berlin", "whole"],
}
PEERS = {
    "openai": ("openai", "openai_.py"),
    "litellm": ("litellm", "litellm_.py"),
    "any-llm-sdk": ("any-llm", "any_llm_.py"),
    "g4f": ("g4f", "g4f_.py"),
    "httpx": ("httpx", "httpx_.py"),
}
BARE, TEXT, BARE_OPENAI, TEXT_OPENAI = OURS
BARE_WHOLE, ASK = WHOLE


def measure(with_peers: bool) -> tuple[str, list[Target]]:
    """Return tables and targets."""
    with ExitStack() as stack:
        service, url = open_service()
        stack.enter_context(service)

        def client(python: str, arguments: list[str]) -> Program:
            script, *rest = arguments
            command = [python, str(HERE / "clients" / script), url, *rest]
            return stack.enter_context(Program(command, MEASURED))

        ours = {name: client(sys.executable, given) for name, given in OURS.items()}
        whole = {name: client(sys.executable, given) for name, given in WHOLE.items()}
        others: dict[str, Program] = {}
        for package, (peer, script) in PEERS.items() if with_peers else ():
            python = python_of(peer)
            if python is not None:
                others[f"{package} {version_of(peer, package)}"] = client(python, [script])
        burst = _rounds(ours, others, "burst/256", 200, 10, 1)
        paced = _rounds(ours, others, "paced/20/150", 200, 20, 200)
        answers = _rounds(whole, {}, "burst/16", 1500, 0, 16)
        kb = {kind: _holding(url, kind) for kind in ("bare", "berlin")}
        flat = _flat(url)
    columns = {
        "chunks": ("chunks/s", "{:,.0f}".format),
        "cpu": ("CPU µs a chunk", "{:.2f}".format),
    }
    only_cpu = {"cpu": ("CPU µs a chunk", "{:.1f}".format)}
    rows = {
        "answers": ("answers/s", "{:,.0f}".format),
        "cpu": ("CPU µs a chunk", "{:.2f}".format),
    }
    peers = {name.split()[0]: name for name in others}

    def times(who: str, peer: str) -> float | None:
        return burst.ratio(who, peers[peer], "chunks") if peer in peers else None

    met = []
    for who, bare in ((TEXT, BARE), (TEXT_OPENAI, BARE_OPENAI)):
        met.append(at_least(f"burst: {who} / bare reader", 0.65, burst.ratio(who, bare, "chunks")))
        if with_peers:
            met.append(at_least(f"burst: {who} / openai", 25, times(who, "openai")))
            met.append(at_least(f"burst: {who} / litellm", 80, times(who, "litellm")))
    for who, bare in ((TEXT, BARE), (TEXT_OPENAI, BARE_OPENAI)):
        met.append(
            at_most(f"paced: CPU a chunk, {who} / bare reader", 1.2, paced.ratio(who, bare, "cpu"))
        )
    met += [
        at_least(
            "whole answers/s / bare aiohttp and json",
            0.7,
            answers.ratio(ASK, BARE_WHOLE, "answers"),
        ),
        at_most("memory of an open stream", 40, kb["berlin"], " KB"),
        at_most("CPU of the last of 1,000,000 chunks / of the first", 1.15, flat["chunk"]),
        at_most("memory grown over 1,000,000 chunks", 5, flat["chunk_mb"], " MB"),
        at_most("CPU of stream 10,000 / of the first", 1.15, flat["stream"]),
        at_most("memory grown over 10,000 streams", 5, flat["stream_mb"], " MB"),
    ]
    parts = (
        "### Burst: 256 pieces at once, one stream after the other\n",
        burst.table(columns, BARE),
        "\n### Paced: one piece each 20 ms, 200 streams (others: 20)\n",
        paced.table(only_cpu, BARE),
        "\n### Whole answers of 16 pieces, 16 at once\n",
        answers.table(rows, BARE_WHOLE),
        f"\nAn open stream holds {kb['berlin']:.1f} KB with Berlin, {kb['bare']:.1f} KB with bare "
        "aiohttp.\n",
        targets(met),
    )
    return "\n".join(parts), met


def _rounds(
    ours: dict[str, Program],
    others: dict[str, Program],
    load: str,
    answers: int,
    fewer: int,
    at_once: int,
) -> Rounds:
    pieces = int(load.rpartition("/")[2])
    rounds = Rounds()
    for number in range(ROUNDS + 1):
        for name, program in (*ours.items(), *others.items()):
            count = answers if name in ours else fewer
            got = program.ask(load=load, answers=count, at_once=min(at_once, count))
            if number:  # the first warms up
                chunks = count * pieces
                rounds.add(
                    name,
                    {
                        "chunks": chunks / got["wall"],
                        "answers": count / got["wall"],
                        "cpu": got["cpu"] / chunks * 1e6,
                    },
                )
    return rounds


def _run(url: str, script: str, *arguments: str) -> str:
    command = [sys.executable, str(HERE / "clients" / script), url, *arguments]
    return subprocess.run(
        [*pinned(MEASURED), *command], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _holding(url: str, kind: str) -> float:
    return float(_run(url, "holding.py", kind, "500"))


def _flat(url: str) -> dict[str, float]:
    told: dict[str, float] = json.loads(_run(url, "flat.py"))
    return told
