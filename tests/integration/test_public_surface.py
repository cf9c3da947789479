"""The public surface: what `dir(berlin)` shows, what the manual names, what types say."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import berlin
from berlin import Berlin, ChatProvider, Conversation
from support.manual import ROOT, read, section

TYPED = Path(__file__).with_name("examples") / "typed_program.py"
PUBLIC = sorted(name for name in dir(berlin) if not name.startswith("__"))
METHODS = [
    pytest.param(method, id=f"{kind.__name__}.{name}")
    for kind in (Berlin, ChatProvider, Conversation)
    for name, method in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_")
]


def test_dir_shows_the_public_names() -> None:
    """`dir(berlin)` is `__all__` and the version, whatever else was loaded."""
    __import__("berlin.client")
    assert [name for name in dir(berlin) if not name.startswith("__")] == sorted(berlin.__all__)
    assert "__version__" in dir(berlin)
    for name in PUBLIC:
        assert getattr(berlin, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        berlin.nothing  # noqa: B018  # the look-up is what is tested


def test_the_manual_names_each_of_them() -> None:
    """The table in docs/python.md has the public names, all of them and no others."""
    rows = re.findall(r"^\| (`.*?) \|", section(read("docs/python.md"), "All public names"), re.M)
    table = section(read("docs/python.md"), "All public names")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    named |= {name for name in re.findall(r"`(\w+)`", table) if name in PUBLIC}
    assert sorted(named) == PUBLIC


def test_the_manual_names_each_argument_of_the_constructor() -> None:
    """The table of docs/python.md has all arguments, and so has the docstring of the class."""
    table = section(read("docs/python.md"), "Arguments of the constructor")
    for name in list(inspect.signature(Berlin).parameters)[:-1]:
        assert f"`{name}`" in table, name
        assert re.search(rf"^    {name}: ", inspect.getdoc(Berlin) or "", re.M), name


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_says_what_it_is(name: str) -> None:
    """Each public class and module has a docstring of its own."""
    value: Any = getattr(berlin, name)
    if inspect.isclass(value) or inspect.ismodule(value):
        assert (value.__doc__ or "").strip()
        assert (
            value.__doc__ != getattr(value.__mro__[1], "__doc__", None)
            if inspect.isclass(value)
            else True
        )


@pytest.mark.parametrize("method", METHODS)
def test_each_method_says_what_it_takes_and_raises(method: Any) -> None:
    """The docstring of each public method names its arguments, and what it raises if it asks."""
    text = inspect.getdoc(method) or ""
    assert text
    takes = [name for name in inspect.signature(method).parameters if name != "self"]
    if takes and "; see `" not in text:
        assert "Args:" in text, text
    asks = {"text", "ask", "stream", "ask_sync", "text_sync", "models", "check", "log_in"}
    if method.__name__ in asks and "like `" not in text:
        assert "Raises:" in text


@pytest.mark.timeout(300)
async def test_a_typed_program_is_checked(tmp_path: Path) -> None:
    """A program that uses the whole surface passes mypy in its strict mode, without a cast."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary"),
        *("--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)),
        str(TYPED),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode()) == (0, "")
