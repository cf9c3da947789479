"""Arguments of `berlin chat` that are wrong before anything is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from berlin.cli.chat.attach import attach
from berlin.cli.chat.schema import read_schema
from berlin.cli.main import run
from berlin.cli.options import as_typed
from berlin.types.messages import TextPart


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_as_an_attachment(tmp_path: Path) -> None:
    """A pipe is read to its end; one that nobody writes to is an error, not a wait."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(click.UsageError, match="no program writes to this pipe"):
        attach((str(pipe),))
    ours = os.open(pipe, os.O_RDWR)  # a reader, so that the writer is there before `attach`
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"a diff")
    os.close(ours)
    closing = threading.Timer(0.05, os.close, (writer,))
    closing.start()
    [part] = attach((str(pipe),))
    closing.join()
    assert isinstance(part, TextPart)
    assert "a diff" in part.text


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no devices")
@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_a_device_as_an_attachment(name: str) -> None:
    """A device may have no end: it is refused before it is read."""
    with pytest.raises(click.UsageError, match=f"-a {name}: a device cannot be read"):
        attach((name,))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [True, {"not": {"const": 1}}]}}},
        {"type": "array", "items": {"enum": [1, "a"]}, "minItems": 1, "x-of-mine": 5},
    ],
)
def test_a_schema(tmp_path: Path, schema: dict[str, object]) -> None:
    """It reaches the service as it is, with keywords that only the service knows."""
    file = tmp_path / "report.json"
    file.write_text(json.dumps(schema))
    form = read_schema(file)
    assert (json.loads(form.schema), form.name) == (schema, "report")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"type": 5}', "is not a JSON Schema: .* - at `\\$.type`"),
        ('{"type": "text"}', "is not a JSON Schema: .* 'text' - at `\\$.type`"),
        ('{"properties": {"a": {"items": 3}}}', "at `\\$.properties\\[...\\].items`"),
        ('{"properties": ["a"]}', "is not a JSON Schema"),
        ('{"required": "a"}', "is not a JSON Schema"),
        ("[]", "is not a JSON Schema: Expected `object`, got `array`"),
        ("{", "is not JSON"),
        ('{"not": ' * 100_000 + "{}" + "}" * 100_000, "nested too deeply"),
    ],
)
def test_a_schema_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    """One line says what is wrong and where; nothing is sent."""
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(click.UsageError, match=said):
        read_schema(file)


def test_an_argument_that_the_locale_cannot_read() -> None:
    """A prompt in UTF-8 is itself even where Python reads arguments as ASCII; other bytes are not
    sent."""
    with pytest.raises(click.UsageError, match="the prompt is not text in UTF-8"):
        as_typed(b"\xff".decode("utf-8", "surrogateescape"), "the prompt")
    code = (
        "import sys; from berlin.cli.options import as_typed\n"
        "print(ascii(as_typed(sys.argv[1], '')))"
    )
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown = subprocess.run(
        [sys.executable, "-c", code, "é".encode()], env=environ, capture_output=True, check=True
    )
    assert shown.stdout == b"'\\xe9'\n"


def test_a_user_without_a_home(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A uid without an entry in passwd and without HOME gets one line, and no traceback."""
    for name in ("BERLIN_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "nowhere")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert run(["providers"]) == 2
    assert capsys.readouterr().err.startswith("berlin: this user has no home folder: set HOME")
