"""The process that starts the workers."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from berlin.config import Config
from berlin.errors import ConfigurationError
from berlin.gateway.serving.watch import ConfigFiles
from berlin.gateway.workers import parent
from berlin.gateway.workers.parent import Parent


def test_signals_are_handled_before_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be reached can be stopped in order; afterwards the old handlers are back."""
    before = signal.getsignal(signal.SIGTERM)
    handled: list[object] = []

    def listen(*args: object) -> Any:
        handled.append(signal.getsignal(signal.SIGTERM))
        raise ConfigurationError("the port is taken")

    monkeypatch.setattr(parent, "open_listeners", listen)
    nothing: Any = None
    gateway = Parent(
        *(2, Config()),
        files=ConfigFiles(Path("none"), nothing),
        load=Config,
        check=print,
        main=nothing,
        say=print,
        check_command=[],
    )
    with pytest.raises(ConfigurationError):
        gateway.run("127.0.0.1", 0)
    assert handled != [before]
    assert signal.getsignal(signal.SIGTERM) is before
