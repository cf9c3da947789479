"""Remembers that keys are required, so that a lost key file never opens the gateway."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

NAME = "keys.required"
_TEXT = (
    "Clients of `berlin serve` need a key: there has been one. Without the file of keys nobody\n"
    "is let in. To run without keys again, remove this file and the file of the keys.\n"
)


class KeysRequired:
    """A marker file beside the keys, and one beside the configuration.

    With two of them, a gateway that looks for its keys elsewhere (another user, another HOME) still
    knows.

    Args:
        folders: the folders of the markers; a missing folder has none.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._notes = [folder / NAME for folder in dict.fromkeys(folders)]

    def __bool__(self) -> bool:
        return any(os.path.lexists(note) for note in self._notes)

    def remember(self) -> None:
        """Write the markers, where possible."""
        for note in self._notes:
            # A read-only folder has none: `require_keys` is for those.
            with contextlib.suppress(OSError):
                if note.parent.is_dir() and not os.path.lexists(note):
                    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(descriptor, "w") as file:
                        file.write(_TEXT)
