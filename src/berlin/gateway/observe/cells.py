"""Named rows of numbers, in memory that other processes may read."""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec

Name: TypeAlias = tuple[str, ...]
Row: TypeAlias = "memoryview[float]"

_HEAD = struct.Struct("=II")  # bytes of a name, with its padding, and numbers behind it
_NUMBER_BYTES = 8

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Name).decode


class Cells:
    """Rows of numbers, all zero at first.

    Args:
        memory: where they are, one after the other; it may have some already. What finds no room
            there, and all without it, is in the memory of this process.

    Attributes:
        rows: the rows by name.
    """

    def __init__(self, memory: memoryview | None = None) -> None:
        self.rows: dict[Name, Row] = {}
        self._memory = memoryview(b"") if memory is None else memory
        self._end = 0
        while self._end + _HEAD.size <= len(self._memory):
            length, size = _HEAD.unpack_from(self._memory, self._end)
            if not size:
                break
            begin = self._end + _HEAD.size
            name = _decode(self._memory[begin : begin + length])
            self._end = begin + length + _NUMBER_BYTES * size
            self.rows[name] = self._memory[begin + length : self._end].cast("d")

    def row(self, *name: str, size: int = 1) -> Row:
        """Return the row of a name, and make it with this many numbers if there is none."""
        found = self.rows.get(name)
        if found is None:
            found = self.rows[name] = self._add(_encode(name), size)
        return found

    def _add(self, name: bytes, size: int) -> Row:
        name += b" " * (-len(name) % _NUMBER_BYTES)
        head, begin = self._end, self._end + _HEAD.size + len(name)
        end = begin + _NUMBER_BYTES * size
        if end > len(self._memory):
            return memoryview(bytearray(_NUMBER_BYTES * size)).cast("d")
        # A process that was killed here may have left a longer name: what follows is zeros, too.
        free = self._memory[begin : end + _HEAD.size]
        free[:] = bytes(len(free))
        self._memory[head + _HEAD.size : begin] = name
        # Last, so that a reader sees the whole row or none of it.
        self._memory[head : head + _HEAD.size] = _HEAD.pack(len(name), size)
        self._end = end
        return self._memory[begin:end].cast("d")
