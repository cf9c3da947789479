"""`berlin recipe replay`: replays a recording and compares the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import click

from berlin.cli.input_file import read_input, why
from berlin.cli.terminal import open_writer, say
from berlin.errors import ConfigurationError, ProtocolError
from berlin.wire.transcript import Transcript, decode_transcript
from berlin.workbench.replay import difference
from berlin.workbench.replay import replay as play

MAX_RECORD_BYTES = 256 * 1024 * 1024


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
def replay(record: Path) -> None:
    """Replay RECORD, and compare the answer with the recorded one.

    Everything works as with the real service, including the recipe in the record, but without
    the network. It is replayed twice: whole, and byte by byte.
    """
    try:
        transcript = decode_transcript(read_input(record, MAX_RECORD_BYTES), str(record))
    except OSError as error:
        raise ConfigurationError(f"{record} cannot be read: {why(error)}") from error
    writer = open_writer()
    try:
        writer.write(asyncio.run(_play(transcript)))
    finally:
        writer.close()
    say("The same as recorded, whole and byte by byte.")


async def _play(transcript: Transcript) -> str:
    """Return the text of a transcript. Raises ProtocolError if it differs from what it was."""
    response = await play(transcript)
    differs = difference(transcript, response)
    if differs is None:
        differs = difference(transcript, await play(transcript, _byte_by_byte))
        if differs is not None:
            differs = f"byte by byte, {differs}"
    if differs is not None:
        raise ProtocolError(f"the answer differs from the recorded one: {differs}")
    return response.text


def _byte_by_byte(body: bytes) -> Iterable[bytes]:
    return (body[n : n + 1] for n in range(len(body)))
