"""Strips a prefix that protects JSON from use in scripts, such as `)]}'` or `for(;;);`."""

from __future__ import annotations

from berlin.wire.framings.contract import Framer


class Prefixed:
    """A framer for answers, or documents, that begin with a prefix; see `Framer`.

    Args:
        inner: splits what follows the prefix.
        prefix: the prefix; an answer without it is accepted too.
    """

    def __init__(self, inner: Framer, prefix: bytes) -> None:
        self._inner = inner
        self._prefix = prefix
        self._held: bytes | None = b""
        self.done = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the documents completed so far; see `Framer`."""
        if self._held is not None:
            self._held += data
            if len(self._held) < len(self._prefix) and self._prefix.startswith(self._held):
                return []
            data, self._held = self._held.removeprefix(self._prefix), None
        return self._plain(self._inner.feed(data))

    def finish(self) -> list[bytes]:
        """Return the rest; see `Framer`."""
        held, self._held = self._held, None
        documents = self._inner.feed(held) if held else []
        return self._plain([*documents, *self._inner.finish()])

    def _plain(self, documents: list[bytes]) -> list[bytes]:
        self.done = self._inner.done
        return [document.removeprefix(self._prefix) for document in documents]
