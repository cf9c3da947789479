"""Moments on the clock of the loop, for tests of what waits.

The timers of one loop ring in order, however busy the machine is: what ended after a moment had
waited for it, and no test has to measure how long something took.
"""

from __future__ import annotations

import asyncio


def moment(seconds: float) -> asyncio.Event:
    """Return an event that is set when that many seconds have passed."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, passed.set)
    return passed
