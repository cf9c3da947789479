"""The row of one request, as the ledger keeps it: never a prompt, an answer or a secret."""

from __future__ import annotations

import msgspec

OPEN = "open"
"""The outcome of a request that has not ended yet; only the journal has such rows."""

INTERRUPTED = "interrupted"
"""The outcome of a request whose process ended before it did."""

MAX_NAME_CHARS = 200
MAX_COUNT = 2**53 - 1

_DATES_END_US = 253_399_622_400_000_000  # December 9999


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The row of a request. `None` means unknown, which is different from 0.

    Attributes:
        id: the request's id; there is one row for each.
        at_us: when it came, in microseconds since the epoch.
        key: id of the client's key or account.
        user: the end user named by the client.
        face: the dialect of the client.
        provider: the provider that answered, or else the requested one.
        account: its account at the service.
        model_asked: the model as the client named it.
        model: the provider's own name of the model that answered.
        stream: whether the answer was streamed.
        attempts: how many requests were sent to services.
        input_tokens: tokens of the request.
        output_tokens: tokens of the answer, reasoning included.
        cached_tokens: how many of the request's tokens the service had in its cache.
        cache_write_tokens: how many of them it wrote to its cache.
        reasoning_tokens: how many of the answer's tokens were reasoning.
        estimated: whether Berlin estimated the tokens, because the service did not report them.
        cost_nanos: the cost, in billionths of the currency of the prices.
        status: HTTP status of the answer; 0 if none was sent.
        outcome: `ok`, `client_left`, `interrupted`, or the code of the error.
        first_event_ms: from the request to the first event.
        duration_ms: from the request to the end of its answer.
    """

    id: str
    at_us: int
    key: str = ""
    user: str = ""
    face: str = ""
    provider: str = ""
    account: str = ""
    model_asked: str = ""
    model: str = ""
    stream: bool = False
    attempts: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: bool = False
    cost_nanos: int | None = None
    status: int = 0
    outcome: str = OPEN
    first_event_ms: float | None = None
    duration_ms: float | None = None

    @property
    def has_date(self) -> bool:
        """Whether its time is one that databases and their partitions by month can have."""
        return 0 <= self.at_us < _DATES_END_US

    @property
    def is_open(self) -> bool:
        """Whether the request has not ended."""
        return self.outcome == OPEN


def name_of(text: str) -> str:
    """Return a name that every database accepts: bounded, and without control characters."""
    if text.isascii() and text.isprintable():
        return text[:MAX_NAME_CHARS]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)[
        :MAX_NAME_CHARS
    ]


def counts_of(*values: int | None) -> list[int | None]:
    """Return counts; those that no service can mean are unknown."""
    return [n if n is not None and 0 <= n <= MAX_COUNT else None for n in values]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def encode_line(entry: Entry) -> bytes:
    """Return the journal's line of a row."""
    return _encode(entry) + b"\n"


def decode_line(line: bytes) -> Entry | None:
    """Return the row of a line; `None` if the line is damaged, as one cut by a full disk is."""
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
