"""`berlin tokens`, and commands that share tokens: each a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import warm
from support.token_processes import redis_server
from support.token_service import RECIPE, TokenService

KEY = "a key for the tests only"


@dataclass
class Shell:
    """Runs commands of one user, whose provider is the strict service."""

    home: Path
    service: TokenService
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "strict.toml").write_text(RECIPE)
        self.config = self.home / "berlin.toml"
        self.configure()

    def configure(self, tokens: str = "") -> None:
        """Write the configuration, with this table `[tokens]`."""
        self.config.write_text(
            f'default = "strict"\n{tokens}\n[providers.strict]\nrecipe = "strict.toml"\n'
            f'url = "{self.service.url}"\naccount = "ann"\npassword = "password of ann"\n'
        )
        self.config.chmod(0o600)

    async def run(self, *words: str) -> tuple[int | None, str, str]:
        """Run a command; return its exit code, output and errors."""
        environ = {**os.environ, "BERLIN_CONFIG": str(self.config), **self.environ}
        ended = await warm.run(words, environ, b"", 60)
        return ended.code, ended.out.decode(), ended.err.decode()

    async def chat(self) -> None:
        """Ask, and expect a good answer."""
        assert await self.run("chat", "ann") == (0, "ann\n", "")

    @property
    def files(self) -> list[Path]:
        """The token files."""
        return sorted((Path(os.environ["XDG_DATA_HOME"]) / "berlin" / "tokens").glob("*.json"))


@pytest.fixture
async def service() -> AsyncIterator[TokenService]:
    """The strict service."""
    async with TokenService(lifetime=9000, rotate=True) as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, service: TokenService) -> Shell:
    """The commands of a user of the service."""
    return Shell(tmp_path / "home", service)


async def test_two_commands_one_login(shell: Shell, service: TokenService) -> None:
    """Commands share the token file without being told to: the second logs in no more."""
    await shell.chat()
    await shell.chat()
    assert (len(service.logins), service.chats) == (1, 2)
    assert [stat.S_IMODE(path.stat().st_mode) for path in shell.files] == [0o600]


async def test_memory(shell: Shell, service: TokenService) -> None:
    """`BERLIN_TOKEN_STORE=memory` switches the file off: each command logs in."""
    shell.environ["BERLIN_TOKEN_STORE"] = "memory"
    await shell.chat()
    await shell.chat()
    assert len(service.logins) == 2
    assert shell.files == []
    said = "Tokens are kept in memory only; nothing is stored.\n"
    assert await shell.run("tokens") == (0, said, "")
    assert await shell.run("tokens", "clear") == (0, "Deleted 0 tokens.\n", "")


async def test_memory_in_the_file(shell: Shell, service: TokenService) -> None:
    """The configuration can switch the file off too."""
    shell.configure('[tokens]\nstore = "memory"\n')
    await shell.chat()
    await shell.chat()
    assert len(service.logins) == 2
    assert shell.files == []


async def test_list(shell: Shell, service: TokenService) -> None:
    """The list says whose tokens are stored and how long they are good, never the tokens."""
    await shell.chat()
    token = json.loads(shell.files[0].read_text())["token"]
    assert token == "token-1-of-ann"
    code, out, err = await shell.run("tokens")
    assert (code, err) == (0, "")
    head, row = out.splitlines()
    assert head.split() == ["RECIPE", "URL", "ACCOUNT", "AGE", "VALID", "FOR"]
    assert row.split()[:3] == ["strict", service.url, "ann"]
    assert row.endswith("2 h")
    assert "token-1" not in out
    assert "refresh-1" not in out


async def test_list_nothing(shell: Shell) -> None:
    """Without tokens one line says so."""
    code, out, err = await shell.run("tokens")
    assert (code, out, err) == (0, "No tokens are stored.\n", "")


async def test_list_expired_and_refused(shell: Shell, service: TokenService) -> None:
    """The list says which token has expired, and whose credentials were refused."""
    await shell.chat()
    path = shell.files[0]
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "expires_at": time.time() - 5}))
    assert (await shell.run("tokens"))[1].splitlines()[1].endswith("  expired")
    path.unlink()
    service.refuse_logins = True
    code, out, err = await shell.run("chat", "ann")
    assert (code, out) == (3, "")
    assert "wrong password" in err
    row = (await shell.run("tokens"))[1].splitlines()[1]
    assert "refused; tried again in" in row
    # The next command does not ask the service again: it could lock the account. A busy machine
    # may take longer to start it than a refusal lasts.
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "refused_until": record["refused_until"] + 60}))
    code, _, err = await shell.run("chat", "ann")
    assert code == 3
    assert "remembered, so that the account is not locked" in err
    assert len(service.logins) == 2


async def test_clear(shell: Shell, service: TokenService) -> None:
    """Cleared tokens are gone: the next command logs in."""
    await shell.chat()
    assert await shell.run("tokens", "clear") == (0, "Deleted 1 token.\n", "")
    assert shell.files == []
    assert await shell.run("tokens", "clear") == (0, "Deleted 0 tokens.\n", "")
    await shell.chat()
    assert len(service.logins) == 2


async def test_damaged_file(shell: Shell, service: TokenService) -> None:
    """A damaged file is told on stderr, and the list goes on without it."""
    await shell.chat()
    shell.files[0].write_bytes(b"\xff\xfe")
    code, out, err = await shell.run("tokens")
    assert (code, len(out.splitlines())) == (0, 1)
    assert err.startswith("tokens.ignored ")
    assert len(err.splitlines()) == 1


async def test_encrypted(shell: Shell, service: TokenService) -> None:
    """With `BERLIN_TOKEN_KEY` the file tells nothing, and commands with the key share it."""
    shell.environ["BERLIN_TOKEN_KEY"] = KEY
    await shell.chat()
    await shell.chat()
    assert len(service.logins) == 1
    data = shell.files[0].read_bytes()
    for text in (b"token-1", b"refresh-1", b"ann", b"strict", b"127.0.0.1", KEY.encode()):
        assert text not in data
    code, out, err = await shell.run("tokens")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[2] == "ann"


async def test_encrypted_with_another_key(shell: Shell, service: TokenService) -> None:
    """Without the right key the file is ignored with one warning, and the command logs in."""
    shell.environ["BERLIN_TOKEN_KEY"] = KEY
    await shell.chat()
    shell.environ["BERLIN_TOKEN_KEY"] = KEY[::-1]
    code, out, err = await shell.run("chat", "ann")
    assert (code, out) == (0, "ann\n")
    assert "it was stored with another key, or is damaged" in err
    assert len(err.splitlines()) == 1
    assert len(service.logins) == 2


async def test_key_that_is_too_short(shell: Shell) -> None:
    """A short key is a mistake of the set-up; it is not shown."""
    shell.environ["BERLIN_TOKEN_KEY"] = "swordfish"
    for words in (("chat", "ann"), ("tokens",)):
        assert await shell.run(*words) == (
            2,
            "",
            "berlin: the key of the token store needs 16 characters or more\n",
        )


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("flie", "tokens.store is 'flie'; expected memory, file, or redis://…"),
        ("http://secret@host/", "expected memory, file, or redis://…"),
        ("redis://127.0.0.1:1/0", "tokens in Redis are encrypted: set tokens.key"),
    ],
)
async def test_store_that_is_none(store: str, said: str, shell: Shell) -> None:
    """A store that there is not is a mistake of the set-up; nothing is sent."""
    shell.environ["BERLIN_TOKEN_STORE"] = store
    code, out, err = await shell.run("chat", "ann")
    assert (code, out) == (2, "")
    assert said in err
    assert "secret" not in err
    assert shell.service.logins == []


async def test_redis(shell: Shell, service: TokenService, tmp_path: Path) -> None:
    """Commands can share tokens in Redis, list and clear them."""
    shell.environ["BERLIN_TOKEN_KEY"] = KEY
    async with redis_server(tmp_path / "redis") as redis:
        shell.environ |= {"BERLIN_TOKEN_STORE": redis.url, warm.PATIENCE: "10"}
        await shell.chat()
        await shell.chat()
        assert len(service.logins) == 1
        assert shell.files == []
        _, out, _ = await shell.run("tokens")
        assert out.splitlines()[1].split()[:3] == ["strict", service.url, "ann"]
        assert "token-1" not in out
        assert await shell.run("tokens", "clear") == (0, "Deleted 1 token.\n", "")
    for words in (("tokens",), ("tokens", "clear")):
        code, out, err = await shell.run(*words)
        assert (code, out) == (2, "")
        assert "the token store cannot be" in err
        assert "Connection refused" in err


async def test_redis_that_is_down(shell: Shell, service: TokenService) -> None:
    """Without Redis a command logs in with a warning, or with `error` ends at once."""
    shell.environ |= {"BERLIN_TOKEN_KEY": KEY, "BERLIN_TOKEN_STORE": "redis://127.0.0.1:1/0"}
    code, out, err = await shell.run("chat", "ann")
    assert (code, out) == (0, "ann\n")
    assert err.startswith("tokens.store_failed ")
    shell.configure('[tokens]\non_failure = "error"\n')
    code, out, err = await shell.run("chat", "ann")
    assert (code, out) == (2, "")
    assert "berlin: the token store cannot be used: Redis: ConnectionError" in err
    assert len(service.logins) == 1


async def test_config_option(shell: Shell, service: TokenService) -> None:
    """A recipe beside the file that `--config` names is found, whatever BERLIN_CONFIG says."""
    shell.environ["BERLIN_CONFIG"] = str(shell.home / "elsewhere" / "berlin.toml")
    given = ("--config", str(shell.config))
    assert await shell.run("chat", *given, "ann") == (0, "ann\n", "")
    assert (await shell.run("tokens", *given))[0] == 0


async def test_login_is_a_real_one(shell: Shell, service: TokenService) -> None:
    """A stored token does not make `berlin login` believe a wrong password."""
    await shell.chat()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "berlin", "login", "strict", "--account", "ann"),
        "--password-stdin",
        env={**os.environ, "BERLIN_CONFIG": str(shell.config)},
        stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate(b"not the password\n")
    assert (process.returncode, out) == (3, b"")
    assert b"wrong password" in err
    assert len(service.logins) == 2
