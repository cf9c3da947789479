"""A configuration that others can read, with a secret in it, is told on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.cli.secret_warnings import MOST_WARNINGS, warn_of_config

TEXT = '[providers.work]\naccount = "ann"\npassword = "letmein-4711"\n'


def test_d05_a_readable_configuration_with_a_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line is told, the password is not; with mode 0600 all is well."""
    file = tmp_path / "berlin.toml"
    file.write_text(TEXT)
    file.chmod(0o644)
    warn_of_config(file)
    said = capsys.readouterr().err
    assert f"{file}, line 3: providers.work.password" in said
    assert "chmod 600" in said
    assert "letmein" not in said
    file.chmod(0o600)
    warn_of_config(file)
    warn_of_config(tmp_path / "missing.toml")
    assert capsys.readouterr().err == ""


def test_a_readable_configuration_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that names variables of the environment may be read by all."""
    file = tmp_path / "berlin.toml"
    file.write_text(TEXT.replace('"letmein-4711"', '{ env = "PW" }'))
    file.chmod(0o644)
    warn_of_config(file)
    assert capsys.readouterr().err == ""


def test_many_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of 1,000 passwords brings eleven lines, not 1,000."""
    file = tmp_path / "berlin.toml"
    file.write_text("".join(f'[providers.p{n}]\npassword = "pw-{n}"\n' for n in range(1_000)))
    file.chmod(0o644)
    warn_of_config(file)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == MOST_WARNINGS + 1
    assert "990 more lines" in said[-1]
