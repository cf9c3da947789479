"""The configuration as one worker uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.config import Config, ProviderConfig, load_config
from berlin.config.models.tables import LimitConfig
from berlin.config.schema import ResponsesConfig, SharedConfig
from berlin.gateway.workers.board import Board
from berlin.gateway.workers.settings import for_worker, publish, published
from berlin.gateway.workers.worker import Worker

LIMITED = {"s": ProviderConfig(url="https://s.example", limit=LimitConfig(concurrent=9))}


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """One of two workers."""
    Board(tmp_path / "board", 2).close()
    return Worker(0, tmp_path)


def test_memory_becomes_files(worker: Worker) -> None:
    """What one process keeps in memory is in files of the gateway; limits stay as configured."""
    config = for_worker(Config(providers=LIMITED), worker)
    assert config.conversations.store == f"file:{worker.folder}/conversations.sqlite"
    assert config.responses.store == f"file:{worker.folder}/responses.sqlite"
    assert config.providers == LIMITED


def test_what_is_shared_already_stays(worker: Worker) -> None:
    """Named stores and limits in Redis are used as configured; one process changes nothing."""
    shared = SharedConfig(redis="redis://127.0.0.1/0")
    config = Config(providers=LIMITED, shared=shared, responses=ResponsesConfig(store="off"))
    used = for_worker(config, worker)
    assert (used.responses.store, used.providers) == ("off", LIMITED)
    assert for_worker(config, None) is config


def test_a_published_configuration_is_the_same(tmp_path: Path) -> None:
    """Workers read what the parent has checked, with its references; only the user can read it."""
    path = tmp_path / "berlin.toml"
    path.write_text(
        "[server]\nworkers = 'auto'\n[tokens]\nstore = { env = 'X' }\n"
        "[providers.a]\nurl = 'https://a.example'\naccount = 'a'\npassword = { file = 'p' }\n"
        "[providers.b]\nclass = 'm:N'\noptions = { x = 1, at = 2026-01-02T03:04:05Z }\n"
        "[models.m]\nfallback = ['a', 'b']\n[aliases]\nz = 'a'\n"
    )
    config = load_config(path)
    publish(config, tmp_path)
    assert published(tmp_path) == config
    assert (tmp_path / "config").stat().st_mode & 0o777 == 0o600
