"""A rolling restart: the parent becomes a new program, and its workers are replaced one for one.

The process keeps its id, its listening sockets and its workers (`execve`). The new program starts
workers on the same sockets, and lets the old ones finish once the new ones are ready.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from berlin.gateway.workers.children import Child
from berlin.gateway.workers.listening import Sockets, close_all, extend

VARIABLE = "BERLIN_TAKEOVER"
CHECK_TIMEOUT_S = 60.0

_log = logging.getLogger("berlin.gateway")


class Taken(msgspec.Struct, frozen=True):
    """The state that the previous program has left.

    Attributes:
        descriptors: the listening sockets of each worker.
        folder: the folder that all share.
        lifeline: the pipe by which workers see that the parent is gone.
        children: the running workers.
    """

    descriptors: list[list[int]]
    folder: Path
    lifeline: tuple[int, int]
    children: list[Child]

    def listeners(self, count: int) -> list[Sockets]:
        """Return the sockets for a number of workers, which may have changed."""
        found = [
            tuple(socket.socket(fileno=descriptor) for descriptor in each)
            for each in self.descriptors
        ]
        for one in (one for each in found for one in each):
            os.set_inheritable(one.fileno(), False)
        for each in found[count:]:
            close_all(each)
        return found[:count] + [extend(found[0]) for _ in range(count - len(found))]


def hand_over(
    listeners: list[Sockets], folder: Path, lifeline: tuple[int, int], children: list[Child]
) -> NoReturn:
    """Become the program anew; see `Taken` for the arguments."""
    descriptors = [[one.fileno() for one in each] for each in listeners if each]
    for descriptor in {*lifeline, *(one for each in descriptors for one in each)}:
        os.set_inheritable(descriptor, True)
    # Signals wait for the new program's handlers; by default they would end it.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    taken = Taken(descriptors, folder, lifeline, children)
    state = msgspec.json.encode(taken, enc_hook=str).decode()
    _log.warning("restart.began pid=%d", os.getpid())
    os.execve(sys.executable, sys.orig_argv, {**os.environ, VARIABLE: state})  # noqa: S606  # itself


def handed_over() -> Taken | None:
    """Return the state that the previous program has left, if there was one."""
    state = os.environ.pop(VARIABLE, "")
    if not state:
        return None
    taken = msgspec.convert(json.loads(state), Taken, dec_hook=lambda kind, value: kind(value))
    for descriptor in taken.lifeline:
        os.set_inheritable(descriptor, False)
    return taken


def still_starts(command: list[str]) -> bool:
    """Return whether a command ends well; a program that was replaced may be broken."""
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=CHECK_TIMEOUT_S)  # noqa: S603  # itself
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        _log.error("restart.refused the new program does not start: %s", last)
        return False
    return True
