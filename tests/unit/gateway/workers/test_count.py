"""How many workers a machine has room for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from berlin.gateway.workers.count import worker_count


@pytest.mark.parametrize(
    ("text", "most"), [("100000 100000\n", 1), ("50000 100000\n", 1), ("max 100000\n", None)]
)
def test_auto_respects_the_container(text: str, most: int | None, tmp_path: Path) -> None:
    """A container's time limits the number of workers, rounded up; without a limit, its cores."""
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert worker_count("auto", quota) == (most or len(os.sched_getaffinity(0)))


def test_a_number_is_used_as_it_is(tmp_path: Path) -> None:
    """More workers than cores are allowed; no file means no container."""
    assert worker_count(17, tmp_path / "none") == 17
    assert worker_count("auto", tmp_path / "none") >= 1
