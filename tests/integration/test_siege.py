"""The siege of `make siege`, in small, and what `make dist` makes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from support.manual import ROOT


def load(file: str) -> ModuleType:
    """Return a program that is in no package."""
    spec = importlib.util.spec_from_file_location(Path(file).stem, ROOT / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def test_a_client_with_a_key_gets_its_answers_under_siege(tmp_path: Path) -> None:
    """While everything goes on at once, each of 40 answers is right, and memory stays bounded."""
    siege = load("tests/siege.py")
    wrong, done, grown = await siege.besiege(tmp_path, 40)
    assert wrong == []
    assert all(done[kind] for kind in siege.KINDS), done
    assert grown < 300


def test_the_bill_of_materials_names_what_is_pinned() -> None:
    """Each package of requirements/run.txt is a component with its hashes."""
    dist = load("packaging/dist.py")
    pinned = (ROOT / "requirements" / "run.txt").read_text()
    bill = dist.bill_of_materials(pinned, "1.2.3", {"a.whl": "00"})
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/berlin-llm@1.2.3"
    named = {each["name"] for each in bill["components"]}
    assert {"aiohttp", "msgspec", "click"} <= named
    assert len(named) == pinned.count("==")
    assert all(each["hashes"] for each in bill["components"])
