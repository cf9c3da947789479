"""Tells systemd about the state of the service (`sd_notify`); does nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send a state such as `READY=1` or `STOPPING=1` to the service manager, if there is one.

    Args:
        state: lines as in `sd_notify(3)`.
        environ: the environment, which names the socket of the service manager.
    """
    path = environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
    ):
        # "@" means the zero byte of an abstract name.
        one.sendto(state.encode(), b"\0" + path[1:].encode() if path[0] == "@" else path)
