"""The transcripts of the shipped recipes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from berlin.errors import BerlinError
from berlin.formats.contract import Format
from berlin.types import ChatResponse
from berlin.types.accumulate import Accumulator
from berlin.wire.transcript import Transcript, decode_transcript

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


def transcript_of(name: str) -> Transcript:
    """Return the transcript of a shipped recipe."""
    file = TRANSCRIPTS / f"{name}.json"
    return decode_transcript(file.read_bytes(), file.name)


def byte_by_byte(body: bytes) -> Iterable[bytes]:
    """Cut a body into single bytes."""
    return (body[n : n + 1] for n in range(len(body)))


def read(format: Format, *reads: bytes) -> ChatResponse | BerlinError:
    """Return what a format makes of an answer that comes in these reads."""
    decoder = format.decoder()
    answer = Accumulator()
    for data in reads:
        for event in decoder.feed(data):
            answer.add(event)
    for event in decoder.finish():
        answer.add(event)
    return decoder.failure or answer.response()


def with_answer(name: str, status: int, body: str, turn: int = -1) -> Transcript:
    """Return a shipped recipe's transcript in which one answer is another."""
    transcript = transcript_of(name)
    turns = list(transcript.turns)
    turns[turn] = msgspec.structs.replace(turns[turn], status=status, answer=[body])
    return msgspec.structs.replace(transcript, turns=turns)
