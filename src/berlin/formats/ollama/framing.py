"""Lines of JSON, even if a service or a proxy splits an object over several lines, or sends the
lines as server-sent events.
"""

from __future__ import annotations

import re

from berlin.wire.framings import FRAMINGS
from berlin.wire.json import decoded_or_none


class PatientLineFramer:
    """Returns one object per line, and pretty-printed objects once complete; see `Framer`."""

    done = False

    def __init__(self) -> None:
        self._lines = FRAMINGS["ndjson"].framer()
        self._parts: list[bytes] = []
        self._has_fields: bool | None = None  # until a line shows whether they are events

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the objects that they complete; see `Framer`."""
        lines = self._without_fields(self._lines.feed(data))
        if not self._parts and not any(map(_is_begun, lines)):
            return lines
        return self._join(lines)

    def finish(self) -> list[bytes]:
        """Return the rest; see `Framer`."""
        documents = self._join(self._without_fields(self._lines.finish()))
        rest, self._parts = self._parts, []
        return [*documents, *([b"\n".join(rest)] if rest else [])]

    def _without_fields(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines, of server-sent events only their data."""
        if self._has_fields is None:
            first = next((line for line in lines if line.strip()), None)
            if first is not None:
                self._has_fields = _FIELD.match(first) is not None
        if not self._has_fields:
            return lines
        return [line[5:].lstrip(b" ") for line in lines if line.startswith(b"data:")]

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


_FIELD = re.compile(rb"(?:data|event|id|retry)?:")


def _is_begun(line: bytes) -> bool:
    """Whether a line starts an object that continues in the next."""
    line = line.strip()
    return line.startswith(b"{") and not line.endswith(b"}")
