"""The requests that a chat needs before it, found by following each value that it carries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from berlin.workbench.draft.follow import CSRF, Carried, Issued, Source, carried_by, is_mark
from berlin.workbench.draft.leaves import last_name
from berlin.workbench.draft.sources.captured import Exchange


class Chain:
    """Follows values back to the responses that issued them, and those of these requests in turn.

    Args:
        exchanges: the session, in order.
        ignored: values that are no links, such as the prompt.

    Attributes:
        names: the values that were followed, each with the name of its placeholder.
        taken: for each exchange that is needed, the names of its values and their places.
        lost: names of CSRF tokens for whose value there is no response.
        in_login: the exchanges that are part of the login.
    """

    def __init__(
        self, exchanges: Sequence[Exchange], ignored: frozenset[str] = frozenset()
    ) -> None:
        self.names: dict[str, str] = {}
        self.taken: dict[int, dict[str, Any]] = {}
        self.lost: list[str] = []
        self.in_login: set[int] = set()
        self._exchanges = exchanges
        self._ignored = ignored
        self._issued = Issued(exchanges)
        self._origins: frozenset[str] = frozenset()

    def know(self, value: str, name: str) -> None:
        """Set the placeholder of a value whose source is known."""
        self.names[value] = name

    def follow(self, at: int) -> None:
        """Follow the values that an exchange's request carries."""
        todo = [at]
        done: set[int] = set()
        while todo:
            at = todo.pop()
            if at in done:
                continue
            done.add(at)
            request = self._exchanges[at].request
            self._origins |= {request.origin}
            for carried in carried_by(request):
                if carried.value in self.names or carried.value in self._ignored:
                    continue
                source = self._issued.find(carried, at, self._origins)
                if source is not None:
                    self.names[carried.value] = self._take(carried, source)
                    todo.append(source.at)
                elif CSRF.fullmatch(carried.name) and carried.value:
                    self.lost.append(carried.name)

    def _take(self, carried: Carried, source: Source) -> str:
        is_link = isinstance(source.place, str)
        if is_mark(carried.name) or not is_link:
            base = "csrf" if is_mark(carried.name) else "value"
        else:
            base = f"made_{re.sub(r'[^a-z0-9]+', '_', last_name((*source.place.split('/'),)))}"
        used = set(self.names.values())
        name = next(
            name for name in (base, *(f"{base}_{n}" for n in range(2, 999))) if name not in used
        )
        self.taken.setdefault(source.at, {})[name] = source.place
        return name
