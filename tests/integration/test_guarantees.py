"""The guarantees about tokens, each tried with real processes, a real Redis and a real service."""

from __future__ import annotations

from pathlib import Path

import pytest

from guarantees import GUARANTEES
from support import warm


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", GUARANTEES)
async def test_guarantee(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the table of guarantees promises about tokens holds, also with fewer programs."""
    monkeypatch.setenv(warm.PATIENCE, "2" if name == "redis_paused" else "10")
    # How long it took is for `make guarantees` to judge: here the machine may be busy.
    monkeypatch.setattr("guarantees._slower_than", lambda limit, reports: [])
    monkeypatch.setattr("support.program_guarantees.EACH", 2)
    outcome = await GUARANTEES[name](tmp_path / name)
    assert outcome.problems == []
