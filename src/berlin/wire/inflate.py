"""Decompression that detects a cut body and never produces more than requested."""

from __future__ import annotations

import zlib

from berlin.errors import ProtocolError, TruncatedStreamError

# Only encodings that can be decoded are offered.
ACCEPT_ENCODING = "gzip, deflate"
PIECE_BYTES = 64 * 1024


class Inflater:
    """Decompresses one body in pieces of at most `PIECE_BYTES`, whatever the compression ratio."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._stream = zlib.decompressobj(31) if encoding == "gzip" else None
        self._begun = False
        self._rest = b""
        self._failure: ProtocolError | None = None

    @classmethod
    def of(cls, encoding: str) -> Inflater | None:
        """Return an inflater for a body with this Content-Encoding; `None` for a plain one.

        Raises:
            ProtocolError: for an encoding that was never offered.
        """
        match encoding.strip().lower():
            case "" | "identity":
                return None
            case "gzip" | "x-gzip":
                return cls("gzip")
            case "deflate":
                return cls("deflate")
            case other:
                raise ProtocolError(
                    f"the answer is encoded as {other[:40]!r}; only {ACCEPT_ENCODING} is accepted"
                )

    @property
    def pending(self) -> bool:
        """Whether there is more output, or an error, without further input."""
        return self._failure is not None or len(self._rest) >= (2 if self._stream is None else 1)

    def feed(self, data: bytes) -> bytes:
        """Take the next compressed bytes and return the first piece of output."""
        self._begun = True
        self._rest += data
        return self.more()

    def more(self) -> bytes:
        """Return the next piece. Raises ProtocolError."""
        if self._failure is not None:
            raise self._failure
        if self._stream is None:
            if len(self._rest) < 2:
                return b""
            self._stream = zlib.decompressobj(_deflate_bits(self._rest))
        elif self._stream.eof and self._rest:
            if self._encoding != "gzip":
                raise ProtocolError("bytes follow the end of the compressed answer")
            self._stream = zlib.decompressobj(31)  # a gzip file may have several members
        before = self._stream.copy()
        try:
            data = self._stream.decompress(self._rest, PIECE_BYTES)
        except zlib.error as error:
            self._failure = ProtocolError(f"the answer is not valid {self._encoding}: {error}")
            data, self._rest = _good_part(before, self._rest), b""
            if data:
                return data
            raise self._failure from error
        self._rest = self._stream.unconsumed_tail or self._stream.unused_data
        return data

    def finish(self) -> None:
        """Take the end of the body.

        Raises:
            TruncatedStreamError: if the compressed stream was not at its end.
        """
        if self._begun and (self._stream is None or not self._stream.eof):
            raise TruncatedStreamError(f"the {self._encoding} answer was cut off")


def _good_part(stream: zlib._Decompress, data: bytes) -> bytes:
    """Return what comes before the corrupt byte; zlib itself returns nothing of such data."""
    found = []
    step = len(data)
    while step := min(step, len(data)):
        attempt = stream.copy()
        try:
            found.append(attempt.decompress(data[:step]))
        except zlib.error:
            step //= 2
        else:
            stream, data = attempt, data[step:]
    return b"".join(found)


def _deflate_bits(head: bytes) -> int:
    # "deflate" is the zlib format (RFC 9110), but some servers send it bare: the header check
    # of RFC 1950 distinguishes them.
    is_zlib = head[0] & 0x0F == 8 and (head[0] << 8 | head[1]) % 31 == 0
    return 15 if is_zlib else -15
