"""The name of this process among those that count together."""

from __future__ import annotations

import os
import uuid
from itertools import count


class _Process:
    """Names this process, and each of its reservations."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Take a new name, as a fork must: two reservations of one name are one."""
        self.name = uuid.uuid4().hex
        self._numbers = count()

    def reservation(self) -> str:
        """Return a new id for a reservation, different in all processes."""
        return f"{self.name}-{next(self._numbers)}"


process = _Process()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.renew)
