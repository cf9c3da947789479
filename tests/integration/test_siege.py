"""The siege of `make siege`, in small, and what `make dist` makes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.manual import ROOT
from support.program import load


async def test_a_client_with_a_key_gets_its_answers_under_siege(tmp_path: Path) -> None:
    """While everything goes on at once, each of 40 answers is right, and memory stays bounded."""
    siege = load("tests/siege.py")
    wrong, done, grown = await siege.besiege(tmp_path, 40)
    assert wrong == []
    assert all(done[kind] for kind in siege.KINDS), done
    assert grown < 300


def test_p10_the_bill_of_materials_names_what_is_pinned() -> None:
    """Each package of requirements/run.txt is a component with its hashes."""
    dist = load("packaging/dist.py")
    pinned = (ROOT / "requirements" / "run.txt").read_text()
    bill = dist.bill_of_materials(pinned, "1.2.3", {"a.whl": "00"})
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/berlin-llm@1.2.3"
    named = {each["name"] for each in bill["components"]}
    assert {"aiohttp", "msgspec", "click"} <= named
    assert len(named) == pinned.count("==")
    assert all(each["hashes"] for each in bill["components"])


def test_p07_pins_have_no_known_weakness(tmp_path: Path) -> None:
    """No pin and no oldest allowed version has one, and each exception is needed."""
    advisories = load("packaging/advisories.py")
    assert advisories.main([]) == 0
    affected = {
        (pin.file, pin.package)
        for pin in advisories.read_pins()
        for known in advisories.read_known()
        if known.package == pin.package and known.affects(pin.version)
    }
    assert affected == advisories.read_accepted()


def test_p07_a_database_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An advisory in either form is found, one that was withdrawn is not, and the line says all."""
    advisories = load("packaging/advisories.py")
    span = {"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"fixed": "99"}]}
    package = {"ecosystem": "PyPI", "name": "AioHTTP"}
    entry = {"id": "X-1", "affected": [{"package": package, "ranges": [span]}]}
    (tmp_path / "a.json").write_text(json.dumps(entry))
    (tmp_path / "b.json").write_text(json.dumps(entry | {"id": "X-2", "withdrawn": "2026"}))
    (tmp_path / "c.yaml").write_text(
        "id: X-3\naffected:\n- package:\n    ecosystem: PyPI\n    name: msgspec\n  ranges:\n"
        '  - type: GIT\n    events:\n    - introduced: "0"\n    - fixed: abc\n'
        '  - type: ECOSYSTEM\n    events:\n    - introduced: "0"\n    - fixed: 0.1\n'
        "    - introduced: 0.2\n"
    )
    assert advisories.main(["--database", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^requirements/run.txt: aiohttp [\d.]+: X-1, fixed in 99$", out, re.M)
    assert re.search(r"^requirements/run.txt: msgspec [\d.]+: X-3, not fixed$", out, re.M)
    assert "X-2" not in out
