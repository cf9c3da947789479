"""`berlin.toml` is changed where it has to be, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.cli.provider.editing import remove_provider, set_provider
from berlin.config import load_config
from berlin.errors import ConfigurationError

FILE = """\
# My services.
default = "work"   # the usual one

[providers.work]   # at work
url = "https://chat.example.com"
# the password is in the keyring
model = "small"

[server]
port = 4200        # 4114 is taken
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "berlin.toml"
    path.write_text(FILE)
    path.chmod(0o640)
    return path


def test_a_provider_is_added_and_everything_else_stays(file: Path) -> None:
    """Comments, order and spacing of what was there are the same, byte by byte."""
    set_provider(file, "home", {"recipe": "ollama", "url": "http://127.0.0.1:11434"})
    text = file.read_text()
    added = '[providers.home]\nrecipe = "ollama"\nurl = "http://127.0.0.1:11434"\n'
    assert added in text
    without = text.replace(added, "")
    assert [line for line in without.splitlines() if line] == [
        line for line in FILE.splitlines() if line
    ]
    assert file.stat().st_mode & 0o777 == 0o640
    assert load_config(file).providers["home"].recipe == "ollama"


def test_a_provider_that_is_there_is_changed_in_place(file: Path) -> None:
    """Keys that are not given stay, with their comments."""
    set_provider(file, "work", {"model": "large"})
    assert file.read_text() == FILE.replace('model = "small"', 'model = "large"')


def test_it_can_become_the_default(file: Path) -> None:
    """`default` is written at the top of a file that names none; another one is kept."""
    before = load_config(file).default
    set_provider(file, "home", {"recipe": "ollama"}, default="home")
    assert load_config(file).default == before != "home"
    other = file.with_name("other.toml")
    other.write_text("# nothing but this\n[server]\nport = 1\n")
    set_provider(other, "home", {"recipe": "ollama"}, default="home")
    assert load_config(other).default == "home"
    assert load_config(other).server.port == 1
    assert "# nothing but this\n" in other.read_text()


def test_a_file_that_is_not_there_is_made_private(tmp_path: Path) -> None:
    """A new file, and the folders to it, are for the user alone."""
    path = tmp_path / "a" / "b" / "berlin.toml"
    set_provider(path, "open.ai", {"recipe": "openai", "api_key": {"env": "K"}}, default="open.ai")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == (
        'default = "open.ai"\n\n[providers."open.ai"]\nrecipe = "openai"\napi_key = {env = "K"}\n'
    )


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    """A link to the file (dotfiles in a repository) is written through."""
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    set_provider(link, "work", {"model": "large"})
    assert link.is_symlink()
    assert 'model = "large"' in file.read_text()


def test_windows_line_ends_and_the_mark_stay(tmp_path: Path) -> None:
    """A file written by an editor on Windows keeps its mark and its line ends."""
    path = tmp_path / "berlin.toml"
    path.write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    set_provider(path, "work", {"model": "large"})
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbf# My services.\r\n")
    assert load_config(path).providers["work"].model == "large"


def test_a_provider_is_removed_with_its_table(file: Path) -> None:
    """Nothing of it is left, nor `default` if it named it; the rest stays."""
    assert remove_provider(file, "work")
    assert "work" not in file.read_text().replace("at work", "")
    assert "[server]\nport = 4200        # 4114 is taken\n" in file.read_text()
    assert load_config(file).default is None
    assert not remove_provider(file, "work")


@pytest.mark.parametrize("text", ["[providers", '[providers.a]\nurll = "x"\n'])
def test_a_wrong_file_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    """A file with a mistake is not written."""
    path = tmp_path / "berlin.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        set_provider(path, "home", {"recipe": "ollama"})
    assert path.read_text() == text


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """That is one plain error, and no file of ours is left behind."""
    with pytest.raises(ConfigurationError, match="cannot be written"):
        set_provider(Path("/proc/nowhere/berlin.toml"), "home", {"recipe": "ollama"})
