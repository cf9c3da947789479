"""The workers as seen by their parent: started, restarted with back-off, and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from berlin.gateway.observe.over_workers import forget_gauges
from berlin.gateway.workers.board import Board, State
from berlin.gateway.workers.listening import SPREADS, Sockets, close_all, extend
from berlin.gateway.workers.worker import Worker

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 10.0
# A worker that ran this long starts with the first wait again.
STABLE_S = 10.0
FAILURES_BEFORE_CLOSING = 2
# A worker whose event loop has not run for this long is killed: its connections hang.
STALLED_S = 30.0

_log = logging.getLogger("berlin.gateway")

Main = Callable[[Worker, Sockets], int]
"""The main function of a worker; it returns the exit code."""


class Child(msgspec.Struct):
    """A running worker.

    Attributes:
        pid: its process id.
        slot: its slot on the board.
        place: which of the sockets it has.
        began_at: when it was started, on the monotonic clock.
        generation: which configuration it uses.
        retired: whether another worker takes its place.
    """

    pid: int
    slot: int
    place: int
    began_at: float
    generation: int = 0
    retired: bool = False


class Descriptors(msgspec.Struct, frozen=True):
    """The pipes between the parent and its workers.

    Attributes:
        wake: the parent wakes up when something is written here.
        lifeline: its end is seen by workers when the parent is gone.
        parents: the ends that only the parent keeps.
    """

    wake: int
    lifeline: int
    parents: tuple[int, ...]


class Children:
    """Starts workers in forks of this process, and replaces those that end.

    A fork begins with what the parent has loaded: it starts quickly, shares that memory, and does
    not depend on a configuration file that is broken just then.

    Args:
        sockets: those of each worker. They stay open here, so that connections wait for the next
            worker when one ends.
        folder: the folder that all share.
        board: their states.
        descriptors: the pipes.
        main: what a worker does.
    """

    def __init__(
        self,
        sockets: list[Sockets],
        folder: Path,
        board: Board,
        descriptors: Descriptors,
        main: Main,
    ) -> None:
        self._sockets = sockets
        self._folder = folder
        self._board = board
        self._descriptors = descriptors
        self._main = main
        self._running: dict[int, Child] = {}
        self._due: dict[int, float] = {}
        self._failures = [0] * len(sockets)
        self._looked_at = self._resumed_at = 0.0

    @property
    def running(self) -> list[Child]:
        """The running workers."""
        return list(self._running.values())

    @property
    def sockets(self) -> list[Sockets]:
        """The listening sockets of each place; of one that does not come up, none."""
        return list(self._sockets)

    @property
    def ready(self) -> bool:
        """Whether each place has a worker that accepts requests."""
        return all(map(self.is_ready, range(len(self._sockets))))

    def is_ready(self, place: int) -> bool:
        """Return whether a place has a worker that accepts requests."""
        ready = self._ready_pids()
        return any(
            child.place == place and not child.retired and child.pid in ready
            for child in self._running.values()
        )

    def adopt(self, children: list[Child]) -> None:
        """Take over workers that an earlier program of this process has started."""
        for child in children:
            child.retired = True
            self._running[child.pid] = child

    def keep_adopted(self) -> None:
        """Let adopted workers go on: those that were to replace them do not start."""
        for child in self.running:
            child.retired = False

    def start(self, place: int, *, first: bool = False) -> None:
        """Start the worker of a place."""
        slot = self._board.free_slot()
        self._board.beat(slot, 0)
        self._board.use(slot, self._board.generation)
        self._due.pop(place, None)
        self._board.write(slot, os.getpid(), State.STARTING)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, place, first=first)
        self._board.write(slot, pid, State.STARTING)
        self._running[pid] = Child(pid, slot, place, time.monotonic(), self._board.generation)

    def start_due(self) -> None:
        """Start the workers whose wait is over."""
        now = time.monotonic()
        for place in [place for place, at in self._due.items() if at <= now]:
            self._sockets[place] = self._sockets[place] or self._reopen()
            self.start(place)

    def reap(self, *, restart: bool) -> list[tuple[Child, int]]:
        """Return the workers that have ended with their exit codes, and plan their restarts."""
        ended = []
        for child in self.running:
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                del self._running[pid]
                code = os.waitstatus_to_exitcode(status)
                ended.append((child, code))
                self._board.write(child.slot, 0, State.NONE)
                forget_gauges(self._folder, child.slot)
                if restart and not child.retired:
                    self._plan_restart(child, code)
        return ended

    def stop_listening(self, place: int) -> None:
        """Let connections go to the workers that still stop, which refuse them with a 503.

        Nobody would answer those that wait for a worker that has ended.
        """
        if place < len(self._sockets):
            close_all(self._sockets[place])
            self._sockets[place] = ()

    def kill_stalled(self, now: float) -> None:
        """Kill workers that are stuck or stopped; `now` is on the monotonic clock."""
        if now - self._looked_at > STALLED_S / 2:
            self._resumed_at = now  # this process was stopped itself, and they perhaps with it
        self._looked_at = now
        for child in self.running:
            beat = self._board.beat_of(child.slot)
            if beat and now - max(beat, self._resumed_at) > STALLED_S:
                _log.error("worker.stalled pid=%d silent=%.0fs", child.pid, now - beat)
                self._signal(child.pid, signal.SIGKILL)
                self._board.beat(child.slot, 0)

    def retire(self) -> None:
        """Let the workers that have been replaced finish their connections and end."""
        for child in self.running:
            if child.retired:
                self._signal(child.pid, signal.SIGUSR1)

    def renew(self) -> None:
        """Let all workers read the configuration again; those that start do so when ready."""
        self._board.generation += 1
        self.renew_late()

    def renew_late(self) -> None:
        """Let those read it that were not ready when it changed."""
        ready, newest = self._ready_pids(), self._board.generation
        for child in self.running:
            if child.generation != newest and not child.retired and child.pid in ready:
                child.generation = newest
                self._signal(child.pid, signal.SIGHUP)

    @property
    def are_renewed(self) -> bool:
        """Whether all workers use the configuration that was published last."""
        used = [self._board.used_by(child.slot) for child in self.running if not child.retired]
        return all(generation == self._board.generation for generation in used)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all."""
        for pid in self._running:
            self._signal(pid, number)

    def _ready_pids(self) -> set[int]:
        return {entry.pid for entry in self._board.entries() if entry.state is State.READY}

    def _signal(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def _plan_restart(self, child: Child, code: int) -> None:
        lived = time.monotonic() - child.began_at
        place = child.place
        self._failures[place] = 0 if lived >= STABLE_S else self._failures[place] + 1
        failures = self._failures[place]
        wait = min(FIRST_WAIT_S * 2 ** max(failures - 1, 0), LONGEST_WAIT_S) if failures else 0.0
        self._due[place] = time.monotonic() + wait
        self._board.restarts += 1
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        _log.error(
            "worker.ended pid=%d after=%.1fs how=%s restart_in=%.1fs", child.pid, lived, how, wait
        )
        others = any(each for at, each in enumerate(self._sockets) if at != place)
        if failures > FAILURES_BEFORE_CLOSING and SPREADS and others:
            # It does not come up: connections go to the other workers instead of waiting for it.
            close_all(self._sockets[place])
            self._sockets[place] = ()

    def _reopen(self) -> Sockets:
        return extend(next(filter(None, self._sockets)))

    def _become_worker(self, slot: int, place: int, *, first: bool) -> NoReturn:
        """Run a worker in this fork; nothing of the parent's stack runs here any more."""
        code = 1
        try:
            for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            for descriptor in self._descriptors.parents:
                os.close(descriptor)
            sockets = self._sockets[place]
            for others in self._sockets:
                if others is not sockets:
                    close_all(others)
            worker = Worker(
                slot,
                self._folder,
                first=first,
                wake=self._descriptors.wake,
                lifeline=self._descriptors.lifeline,
            )
            code = self._main(worker, sockets)
        except BaseException:
            _log.exception("worker.failed")
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
