"""Remember that keys are required, so that a lost file of keys never opens the gateway."""

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
    """A note beside the keys, and one beside the configuration.

    With two notes, a gateway that looks for its keys elsewhere (another user, another HOME) still
    knows.

    Args:
        folders: where the notes are; one that does not exist has none.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._notes = [folder / NAME for folder in dict.fromkeys(folders)]

    def __bool__(self) -> bool:
        return any(os.path.lexists(note) for note in self._notes)

    def remember(self) -> None:
        """Write the notes, where that can be done."""
        for note in self._notes:
            # A folder that cannot be written has none: `require_keys` is for those.
            with contextlib.suppress(OSError):
                if note.parent.is_dir() and not os.path.lexists(note):
                    descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(descriptor, "w") as file:
                        file.write(_TEXT)
