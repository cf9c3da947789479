"""The parent of the workers. It only watches: it serves nothing and opens no connection."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from berlin.config import Config
from berlin.errors import BerlinError
from berlin.gateway.serving.notify import notify
from berlin.gateway.serving.watch import LOOK_EVERY_S, ConfigFiles
from berlin.gateway.workers.board import Board
from berlin.gateway.workers.children import Children, Descriptors
from berlin.gateway.workers.listening import Sockets, close_all, open_listeners, url_of
from berlin.gateway.workers.settings import publish
from berlin.gateway.workers.takeover import Taken, hand_over, handed_over, still_starts
from berlin.gateway.workers.worker import Worker

# Seconds beyond the grace time after which a worker that does not end is killed.
PREFIX = "berlin-"
PATIENCE_S = 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
_STOPS = {signal.SIGTERM, signal.SIGINT}

_log = logging.getLogger("berlin.gateway")


class Parent:
    """Starts the workers, replaces those that end, and reloads and stops them together.

    SIGHUP or a changed file reloads the configuration: it is read and checked here first, so that
    either all workers use it or none. SIGUSR2 replaces this program and then each worker, without
    a refused connection. SIGTERM and SIGINT stop it.

    Args:
        count: the number of workers.
        config: the configuration that the first workers use.
        files: says when it has changed.
        load: reads it again.
        check: raises if a worker could not use a configuration; it runs in a process of its own.
        main: what a worker does; it returns the exit code.
        say: shows a line to the person who started the gateway.
        check_command: a command that ends well if this program can be started anew.
    """

    def __init__(
        self,
        count: int,
        config: Config,
        *,
        files: ConfigFiles,
        load: Callable[[], Config],
        check: Callable[[Config], object],
        main: Callable[[Worker, Sockets, Config], int],
        say: Callable[[str], None],
        check_command: list[str],
    ) -> None:
        self._count = count
        self._config = config
        self._files = files
        self._load = load
        self._check = check
        self._main = main
        self._say = say
        self._check_command = check_command
        self._asked: set[int] = set()
        self._is_loading = False

    def run(self, host: str, port: int) -> int:
        """Serve until a signal asks to stop, and return the exit code.

        Raises:
            ConfigurationError: if the address cannot be listened on.
        """
        taken = handed_over()
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        with self._signals():  # before listening: it may be stopped as soon as it can be reached
            listeners = (
                taken.listeners(self._count) if taken else open_listeners(host, port, self._count)
            )
            folder = self._folder = taken.folder if taken else _new_folder()
            _keep(folder)
            self._lifeline = taken.lifeline if taken else os.pipe()
            try:
                return self._run(listeners, folder, taken)
            finally:
                close_all(one for each in listeners for one in each)
                shutil.rmtree(folder, ignore_errors=True)

    def _run(self, listeners: list[Sockets], folder: Path, taken: Taken | None) -> int:
        board = Board(folder / "board", self._count)
        board.workers = self._count
        pipes = Descriptors(self._wake[1], self._lifeline[0], (self._wake[0], self._lifeline[1]))
        children = Children(
            *(listeners, folder, board, pipes),
            lambda worker, sockets: self._main(worker, sockets, self._config),
        )
        if taken:
            children.adopt(taken.children)
        gc.collect()
        gc.freeze()  # so that no collection in a worker copies the memory that all share
        code = self._start(children, board, listeners)
        if code is not None:
            return code
        restart = False
        while True:
            asked = self._wait()
            if asked & _STOPS:
                return self._stop(children, board)
            children.kill_stalled(time.monotonic())
            children.reap(restart=True)
            children.start_due()
            children.renew_late()
            self._look_at_files(children, asked=signal.SIGHUP in asked)
            if self._is_loading and children.are_renewed:
                self._is_loading = False
                _log.warning("config.loaded workers=%d", self._count)
            restart = restart or signal.SIGUSR2 in asked
            if restart and children.ready:  # otherwise as soon as they are
                restart = False
                if still_starts(self._check_command):
                    hand_over(children.sockets, folder, self._lifeline, children.running)

    def _start(self, children: Children, board: Board, listeners: list[Sockets]) -> int | None:
        """Start all workers, and return the exit code if that fails or a signal stops it."""
        children.start(0, first=True)
        others = list(range(1, self._count))
        while not children.ready:
            if self._wait() & _STOPS:
                return self._stop(children, board)
            ended = [code for child, code in children.reap(restart=not others) if not child.retired]
            if ended and others:  # the first one has said why
                if not children.running:
                    return ended[0] or 1
                _log.error("restart.failed the workers of before go on")
                children.keep_adopted()
                return None
            if others and children.is_ready(0):
                for place in others:
                    children.start(place)
                others = []
            children.start_due()
        board.was_ready = True
        self._say(f"berlin: serving on {url_of(listeners[0])} with {self._count} workers")
        notify("READY=1")
        children.retire()
        return None

    def _look_at_files(self, children: Children, *, asked: bool) -> None:
        try:
            if not self._files.look(asked=asked):
                return
            config = self._load()
        except BerlinError as error:
            _log.error("config.kept the new one is wrong: %s", error.message)
            return
        except Exception:
            _log.exception("config.kept the new one cannot be used")
            return
        if not self._works(config):
            return
        self._files.accept()
        self._config = config
        publish(config, self._folder)
        children.renew()
        self._is_loading = True

    def _stop(self, children: Children, board: Board) -> int:
        self._say("berlin: stopping")
        notify("STOPPING=1")
        board.stopping = True
        children.send(signal.SIGTERM)
        end = time.monotonic() + self._config.server.grace_s + PATIENCE_S
        while children.running:
            if time.monotonic() > end:
                _log.error("worker.killed count=%d", len(children.running))
                children.send(signal.SIGKILL)
            self._wait()
            for child, _ in children.reap(restart=False):
                children.stop_listening(child.place)
        return 0

    def _works(self, config: Config) -> bool:
        """Return whether a worker could use a configuration; a fork says why not."""
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        code = 1
        try:
            self._check(config)
            code = 0
        except BerlinError as error:
            _log.error("config.kept the new one is wrong: %s", error.message)
        except BaseException:
            _log.exception("config.kept the new one cannot be used")
        finally:
            os._exit(code)

    def _wait(self) -> set[int]:
        """Wait for a signal, a worker, or the time to look at the files; return the signals."""
        select.select([self._wake[0]], [], [], LOOK_EVERY_S)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        # A handler may run between any two of these; what it adds is seen now or next time.
        asked, self._asked = self._asked, set()
        return asked

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, lambda given, _: self._asked.add(given))
            for number in _SIGNALS
        }
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # a takeover comes with them blocked
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _keep(folder: Path) -> None:
    """Lock a folder until this program ends, so that systemd-tmpfiles does not empty it."""
    import fcntl  # not on Windows, where there is one process

    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of gateways that were killed: they contain stored responses."""
    import fcntl

    for board in parent.glob(f"{PREFIX}*/board"):
        # The workers inherit the lock, so that it ends with the last of them. A folder gets its
        # board after its lock.
        with contextlib.suppress(OSError):
            descriptor = os.open(board.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(board.parent, ignore_errors=True)
            finally:
                os.close(descriptor)


def _new_folder() -> Path:
    """Return a new folder that only this user can read; it is gone when the gateway has ended."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usable = runtime and os.access(runtime, os.W_OK)
    parent = Path(runtime if runtime and usable else tempfile.gettempdir())
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_bytes(secrets.token_bytes(32))
    return folder
