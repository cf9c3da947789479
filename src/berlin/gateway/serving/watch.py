"""Watch the configuration file and the recipes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from berlin.errors import ConfigurationError

LOOK_EVERY_S = 0.4
MAX_WATCHED_BYTES = 4 * 1024 * 1024

FilesState: TypeAlias = tuple[tuple[str, int, int], ...]
"""Path, modification time and size of each file."""

_log = logging.getLogger("berlin.gateway")

_T = TypeVar("_T")


def files_state(path: Path) -> FilesState:
    """Return the state of a configuration file and the recipes beside it, to detect changes."""
    state = []
    for file in sorted({path, *path.parent.glob("*.toml")}):
        with contextlib.suppress(OSError):
            status = file.stat()
            state.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(state)


class ConfigFiles:
    """Says when the files have changed and should be read again.

    A file that is being rewritten in place is first empty and then incomplete. Neither is used: the
    current configuration stays until the file is complete. When asked, it is read as it is, because
    that is explicit.

    Args:
        path: the configuration file.
        seen: the state of the files when they were last read.
    """

    def __init__(self, path: Path, seen: FilesState) -> None:
        self._path = path
        self._seen = self._looked = seen
        self._text = self._read = _read(path)

    def look(self, *, asked: bool) -> bool:
        """Check the files once, and return whether they should be read again now."""
        now = files_state(self._path)
        settled, self._looked = now == self._looked, now
        if not asked and (now == self._seen or not settled):
            return False
        self._seen = now
        self._read = _read(self._path)
        why = _unfinished(self._read, self._text, asked)
        if why:
            _log.error("config.kept the file %s is %s", self._path, why)
        return not why

    def whole(self, load: Callable[[], _T]) -> Callable[[], _T]:
        """Return a loader that refuses files which are being written while it reads them.

        They may have changed since `look`: on a busy machine, or in another process, much later.
        """

        def read() -> _T:
            before, text = files_state(self._path), _read(self._path)
            if text is not None and not text.strip() and (self._text or "").strip():
                raise ConfigurationError(f"{self._path} is empty")
            loaded = load()
            if files_state(self._path) != before or _read(self._path) != text:
                raise ConfigurationError(f"{self._path} changed while it was read")
            self._text = text
            return loaded

        return read

    def accept(self) -> None:
        """Remember that the configuration last read is in use."""
        self._text = self._read


class Watch:
    """Triggers a reload at SIGHUP, and when the files have changed and then settled.

    Args:
        files: the files.
        reload: reloads them; returns whether they were valid.
    """

    def __init__(self, files: ConfigFiles, reload: Callable[[], Awaitable[bool]]) -> None:
        self._files = files
        self._reload = reload
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """Watch forever; no error here ends it."""
        with contextlib.suppress(NotImplementedError, AttributeError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:
                _log.exception("config.watch_failed")

    async def look(self) -> None:
        """Check the files once, and reload if due."""
        asked = self._asked.is_set()
        self._asked.clear()
        if await asyncio.to_thread(self._files.look, asked=asked) and await self._reload():
            self._files.accept()


def _unfinished(text: str | None, before: str | None, asked: bool) -> str:
    """Return why a text is not a whole configuration; `""` if it may be one."""
    if text is None or before is None:
        return ""  # loading it reports why
    if not text.strip() and before.strip():
        return "empty"
    if not asked and text != before and before.startswith(text):
        return "the beginning of the one in use: send SIGHUP if it is whole"
    return ""


def _read(path: Path) -> str | None:
    """Return the text of a file; `None` if there is none, or something else, such as a pipe, that
    would be waited for here, or read here instead of where it is loaded."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return file.read(MAX_WATCHED_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
