"""The soak of the gateway, with as many requests as the suite has time for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from soak import soak


@pytest.mark.timeout(180)
async def test_four_hundred_requests_leave_nothing_behind(tmp_path: Path) -> None:
    """A quarter of the clients leave at a random moment; all others get their own answer."""
    report = await soak(400, 150, random.SystemRandom().randrange(2**32), tmp_path)
    assert report.problems == [], f"seed {report.seed}: {report}"
    assert report.counts["200"] > 240
    assert sum(n for name, n in report.counts.items() if name.startswith("left")) > 60
