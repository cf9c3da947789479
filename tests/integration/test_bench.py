"""The benchmark's guard: a fixed load takes no more instructions than it did."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.mark.timeout(300)
async def test_a_fixed_load_takes_no_more_instructions_than_it_did() -> None:
    """Text from Python and a stream through the gateway stay within 15 % of the committed ratio."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(BENCH / "instructions.py")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert said.decode().count(", ok") == 2
