"""The command's entry: Ctrl-C ends it in silence from its first line on."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest

import berlin.cli.main
from berlin.__main__ import main


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    before, handler = gc.get_threshold(), signal.getsignal(signal.SIGINT)
    yield
    gc.set_threshold(*before)
    signal.signal(signal.SIGINT, handler)


def test_ctrl_c_during_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the process with 130 and no traceback; a command then has Python's own handler."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    installed = []
    monkeypatch.setattr(signal, "signal", lambda _, handler: installed.append(handler))
    monkeypatch.setattr(berlin.cli.main, "run", lambda: 7)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 7
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    installed[0](signal.SIGINT, None)
    assert (codes, installed[1:]) == ([130], [signal.default_int_handler])


def test_ctrl_c_outside_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `run` does not handle itself is silent as well."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(berlin.cli.main, "run", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_an_ignored_ctrl_c_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job in the background of a shell is not ended by the foreground's Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(berlin.cli.main, "run", lambda: 0)
    with pytest.raises(SystemExit):
        main()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
