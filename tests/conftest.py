"""What every test gets: an environment of its own."""

from __future__ import annotations

import functools
import gc
import hashlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from berlin import Berlin
from berlin.gateway.observe import flood
from support.canaries import Canaries, install
from support.postgres import Postgres, postgres_cluster

# A busy machine is no failure, so examples have no deadline. CI repeats what it ran before; a
# run by hand looks for new examples.
settings.register_profile(
    "berlin",
    deadline=None,
    max_examples=50,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("berlin")

CANARIES = Canaries()
_HOMES = itertools.count()
_PRESENT = pytest.StashKey[set[str]]()


def pytest_configure() -> None:
    """Give the commands under test a working Ctrl-C, also where the tests run in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # In development mode (`-X dev`) asyncio logs what takes a tenth of a second; on a busy machine
    # everything may.
    logging.getLogger("asyncio").addFilter(lambda r: not str(r.msg).startswith("Executing "))
    install(CANARIES)
    # Slow on purpose, and a quarter of the suite's work: the same password with the same salt is
    # hashed once.
    hashlib.scrypt = functools.cache(hashlib.scrypt)


def pytest_collection_finish() -> None:
    """Keep the tests themselves out of garbage collections, which would stop a test's event loop
    for a fifth of a second, and on a busy machine for seconds.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember what is in the current folder."""
    session.stash[_PRESENT] = _visible_files()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if the tests left a file in the current folder."""
    left = _visible_files() - session.stash.get(_PRESENT, set())
    if left and not hasattr(session.config, "workerinput"):  # once, where workers have ended
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nThe tests left files in {os.getcwd()}: {', '.join(sorted(left))}\n")


def _visible_files() -> set[str]:
    return {name for name in os.listdir() if not name.startswith(".")}


@pytest.fixture(autouse=True)
def whole_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no line out of the gateway's log because earlier tests wrote such lines, too."""
    monkeypatch.setattr(flood._FILTER, "_seen", {})


@pytest.fixture(autouse=True)
def no_secret_is_told() -> Iterator[None]:
    """No expected error and no line of the log shows a secret that was made during the test."""
    CANARIES.clear()
    yield
    found, message = list(CANARIES.found), "secrets are told:\n"
    CANARIES.clear()
    assert not found, message + "\n".join(found)


@pytest.fixture(autouse=True)
def own_environment(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No test sees the user's settings, or those of another test."""
    if "tmp_path" in request.fixturenames:
        home: Path = request.getfixturevalue("tmp_path")
    else:  # a folder that is made if it is used
        home = tmp_path_factory.getbasetemp() / f"home-{next(_HOMES)}"
    for name in list(os.environ):
        if name.startswith("BERLIN_") or name.lower().endswith(("_proxy", "_api_key", "_base_url")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setattr(Berlin, "_class_url", None)


@pytest.fixture(autouse=True)
def default_garbage_collection() -> Iterator[None]:
    """`berlin serve` collects less often; a suite that kept its settings would grow for ever."""
    thresholds = gc.get_threshold()
    yield
    if gc.get_threshold() != thresholds:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        pytest_collection_finish()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of the tests' own, started by the first test that needs it."""
    with postgres_cluster() as cluster:
        yield cluster
