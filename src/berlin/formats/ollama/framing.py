"""Lines of JSON, even if a service or a proxy splits an object over several lines."""

from __future__ import annotations

from berlin.wire.framings import FRAMINGS
from berlin.wire.json import decoded_or_none


class PatientLineFramer:
    """Returns one object per line, and pretty-printed objects once complete; see `Framer`."""

    done = False

    def __init__(self) -> None:
        self._lines = FRAMINGS["ndjson"].framer()
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the objects that they complete; see `Framer`."""
        lines = self._lines.feed(data)
        if not self._parts and not any(map(_is_begun, lines)):
            return lines
        return self._join(lines)

    def finish(self) -> list[bytes]:
        """Return the rest; see `Framer`."""
        documents = self._join(self._lines.finish())
        rest, self._parts = self._parts, []
        return [*documents, *([b"\n".join(rest)] if rest else [])]

    def _join(self, lines: list[bytes]) -> list[bytes]:
        documents = []
        for line in lines:
            if not self._parts and not _is_begun(line):
                documents.append(line)
                continue
            self._parts.append(line)
            # Only such a line can be the end; indented ones are those of inner objects.
            if line.startswith(b"}") or (line.rstrip().endswith(b"}") and len(self._parts) > 1):
                whole = b"\n".join(self._parts)
                if decoded_or_none(whole) is not None:
                    documents.append(whole)
                    self._parts = []
        return documents


def _is_begun(line: bytes) -> bool:
    """Whether a line starts an object that continues in the next."""
    line = line.strip()
    return line.startswith(b"{") and not line.endswith(b"}")
