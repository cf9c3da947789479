"""The service manager is told of the state."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from berlin.gateway.serving.notify import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_states_reach_the_socket(abstract: bool, tmp_path: Path) -> None:
    """A state is a datagram to the socket in the environment, also one with an abstract name."""
    name = f"@{tmp_path}/n" if abstract else f"{tmp_path}/n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        manager.settimeout(30)
        notify("READY=1", {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "/nobody/listens", "vsock:1"])
def test_without_a_manager_nothing_happens(name: str) -> None:
    """No socket, or one that is gone, is no error."""
    notify("READY=1", {"NOTIFY_SOCKET": name})
