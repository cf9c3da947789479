"""The listening sockets of several workers."""

from __future__ import annotations

import socket

import pytest

from berlin.errors import ConfigurationError
from berlin.gateway.workers.listening import SPREADS, close_all, open_listeners, url_of


def test_workers_share_a_port_that_nobody_else_gets() -> None:
    """Each worker has a socket on the port; a second gateway is refused, also one with workers."""
    listeners = open_listeners("127.0.0.1", 0, 3)
    try:
        ports = {one.getsockname()[1] for each in listeners for one in each}
        assert len(ports) == 1
        assert url_of(listeners[0]) == f"http://127.0.0.1:{next(iter(ports))}"
        assert len({one.fileno() for each in listeners for one in each}) == (3 if SPREADS else 1)
        for count in (1, 2):
            with pytest.raises(ConfigurationError, match="cannot listen on"):
                open_listeners("127.0.0.1", next(iter(ports)), count)
    finally:
        close_all(one for each in listeners for one in each)


def test_a_name_with_several_addresses() -> None:
    """All addresses of a name get the same port."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    [sockets] = open_listeners("localhost", 0, 1)
    try:
        assert len({one.getsockname()[1] for one in sockets}) == 1
    finally:
        close_all(sockets)


def test_a_host_that_does_not_exist() -> None:
    """An address that is not this machine's is an error with what to change."""
    with pytest.raises(ConfigurationError, match="--host"):
        open_listeners("192.0.2.1", 0, 1)
