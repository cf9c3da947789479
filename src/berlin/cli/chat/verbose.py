"""`berlin chat -v`: reports on stderr who answered, how fast, and which attempts failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from berlin.cli.terminal import tell
from berlin.errors import FailedAttempt
from berlin.types import Finished, Started, StreamEvent, UsageReport

if TYPE_CHECKING:
    from berlin.cli.chat.answer import Screen


class VerboseScreen:
    """Shows an answer, and reports how it came about."""

    def __init__(self, inner: Screen, asked: str) -> None:
        self._inner = inner
        self._asked = asked
        self._began = time.monotonic()
        self._first: float | None = None
        self._started: Started | None = None
        self._reported = 0
        self._usage = ""
        self._finished = False

    def show(self, event: StreamEvent) -> None:
        """Show an event, and report the attempts that failed before it."""
        if isinstance(event, Started):
            self._started = event
            self._report_failed(event.failed)
        elif self._first is None:
            self._first = time.monotonic() - self._began
        if isinstance(event, UsageReport):
            usage = event.usage
            self._usage = f", {usage.input_tokens} tokens in, {usage.output_tokens} out"
        self._inner.show(event)
        self._finished = isinstance(event, Finished)

    def close(self) -> None:
        """Show the rest; then report how the answer came about, if it is complete."""
        self._inner.close()
        if self._finished:
            self._report_end()

    def _report_failed(self, failed: tuple[FailedAttempt, ...]) -> None:
        for attempt in failed[self._reported :]:
            name = f"{attempt.provider}:{attempt.model}".strip(":") or self._asked
            after = f"after {attempt.seconds:.2f} s" if attempt.sent else "was not asked"
            tell(f"{name} {after}: {attempt.code}")
        self._reported = len(failed)

    def _report_end(self) -> None:
        started = self._started or Started()
        name = f"{started.provider}:{started.model}".strip(":") or self._asked or "the default"
        whole = time.monotonic() - self._began
        first = whole if self._first is None else self._first
        kept = "" if started.age_s is None else f", from {started.age_s:.0f} s ago"
        attempts = "1 attempt" if started.attempts == 1 else f"{started.attempts} attempts"
        tell(f"{name} answered, {attempts}{kept}: {first:.2f} s, {whole:.2f} s{self._usage}")
