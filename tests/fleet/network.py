"""Places for hosts: network namespaces on a bridge, or else processes of one machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec


class Place(msgspec.Struct, frozen=True):
    """The place of a host.

    Attributes:
        address: what it listens on, as seen by others.
        command: the words before its command.
    """

    address: str
    command: tuple[str, ...] = ()


class Network(msgspec.Struct, frozen=True):
    """The places of all hosts.

    Attributes:
        kind: what it is, for the report.
        middle: the address of the services and engines.
        places: those of the hosts.
    """

    kind: str
    middle: str
    places: tuple[Place, ...]


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True, timeout=20)


@contextmanager
def open_network(count: int) -> Iterator[Network]:
    """Make a namespace for each host; without the rights for it, use this machine's loopback."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        yield _loopback(count)
        return
    name = f"fl{os.getpid() % 100_000}"
    hosts = [f"{name}h{number}" for number in range(count)]
    try:
        try:
            places = _make(name, hosts)
        except subprocess.CalledProcessError:
            yield _loopback(count)
            return
        yield Network("network namespaces", "10.77.0.1", places)
    finally:
        for host in hosts:
            subprocess.run(("ip", "netns", "del", host), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", name), capture_output=True, check=False)


def _loopback(count: int) -> Network:
    return Network("processes", "127.0.0.1", (Place("127.0.0.1"),) * count)


def _make(bridge: str, hosts: list[str]) -> tuple[Place, ...]:
    _ip("link", "add", bridge, "type", "bridge")
    _ip("addr", "add", "10.77.0.1/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    places = []
    for number, host in enumerate(hosts):
        address, inside = f"10.77.0.{10 + number}", ("netns", "exec", host, "ip")
        _ip("netns", "add", host)
        _ip("link", "add", f"{host}o", "type", "veth", "peer", "name", "eth0", "netns", host)
        _ip("link", "set", f"{host}o", "master", bridge, "up")
        _ip(*inside, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        places.append(Place(address, ("ip", "netns", "exec", host)))
    return tuple(places)
