"""The listening sockets of several processes on one address."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterable
from typing import TypeAlias

from berlin.errors import ConfigurationError

BACKLOG = 1024
# Elsewhere SO_REUSEPORT exists, but gives all connections to one of the sockets.
SPREADS = sys.platform == "linux"

Sockets: TypeAlias = tuple[socket.socket, ...]
"""The sockets of one worker: one for each address of the host name."""


def open_listeners(host: str, port: int, count: int) -> list[Sockets]:
    """Return the sockets of each worker, in the order of the workers.

    On Linux each worker has its own, and the kernel spreads connections over them
    (`SO_REUSEPORT`). Elsewhere all have the same.

    The first socket is opened without `SO_REUSEPORT` and gets it afterwards: another gateway on
    the address is an error, not a silent partner.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        count: the number of workers.

    Raises:
        ConfigurationError: if the address cannot be listened on.
    """
    opened: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port):
            chosen = opened[0].getsockname()[1] if opened else port
            opened.append(_listen(family, (address, chosen), reuse=False))
        first = tuple(opened)
        return [first, *(extend(first) for _ in range(count - 1))]
    except OSError as error:
        close_all(opened)
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from error


def extend(known: Sockets) -> Sockets:
    """Return the sockets of one more worker, on the addresses of another one's.

    Raises:
        OSError: if they cannot be opened.
    """
    if not SPREADS:
        return known
    more: list[socket.socket] = []
    try:
        for one in known:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            more.append(_listen(one.family, one.getsockname(), reuse=True))
    except OSError:
        close_all(more)
        raise
    return tuple(more)


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close sockets."""
    for one in sockets:
        one.close()


def url_of(sockets: Sockets) -> str:
    """Return the base URL of a listening gateway."""
    address = sockets[0].getsockname()
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{shown}:{address[1]}"


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen(
    family: socket.AddressFamily, address: tuple[str | int, ...], *, reuse: bool
) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            with contextlib.suppress(AttributeError, OSError):
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError:
        one.close()
        raise
    return one
