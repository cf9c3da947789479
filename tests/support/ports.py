"""Ports for programs that cannot choose one themselves, and for services that are down."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port on which nobody listens but a program that is given it.

    The port is reserved as long as this process lives: the kernel gives it to nobody who asks for
    any port, but a server with SO_REUSEADDR, which nearly all have, can listen on it.
    """
    one = socket.socket()
    _HELD.append(one)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((address, 0))
    port: int = one.getsockname()[1]
    return port
