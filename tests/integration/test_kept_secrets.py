"""A refused secret that is kept in a file, a keyring or a program, and then replaced there."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin.auth.tokens import registry
from berlin.client import Berlin
from berlin.config import load_config, resolve_settings
from berlin.errors import AuthenticationError
from support.token_service import RECIPE, TokenService


class Machine:
    """A user whose password is in a file."""

    def __init__(self, folder: Path, url: str, store: str, source: str) -> None:
        self.secret = folder / "password"
        self._config = folder / "berlin.toml"
        (folder / "strict.toml").write_text(RECIPE)
        place = source.format(self.secret)
        self._config.write_text(
            f'[tokens]\nstore = "{store}"\n[providers.strict]\nrecipe = "strict.toml"\n'
            f'url = "{url}"\naccount = "ann"\npassword = {place}\n'
        )
        self._environ = {"XDG_DATA_HOME": str(folder / "data"), "PATH": "/usr/bin:/bin"}
        self.write("mistyped")

    def write(self, password: str) -> None:
        """Put a password into the file."""
        self.secret.write_text(password)
        self.secret.chmod(0o600)

    def berlin(self) -> Berlin:
        """Return what another program would have: it knows only what is stored."""
        registry._SHARED.clear()
        settings = resolve_settings("strict", load_config(self._config), environ=self._environ)
        return Berlin.from_settings(settings)


async def refused(berlin: Berlin) -> str:
    with pytest.raises(AuthenticationError) as caught:
        await berlin.ask("ann")
    return caught.value.message


@pytest.mark.parametrize("store", ["memory", "file"])
async def test_a_refusal_ends_when_the_secret_changes(store: str, tmp_path: Path) -> None:
    """A wrong password in a file is tried once; when the file has the right one, it is tried
    immediately, although the refusal is remembered; also if the new one is wrong as well.
    """
    async with TokenService() as service:
        machine = Machine(tmp_path, service.url, store, '{{ file = "{}" }}')
        async with machine.berlin() as berlin:
            for _ in range(5):
                await refused(berlin)
            assert len(service.logins) == 1
            machine.write("also mistyped")
            assert "remembered" not in await refused(berlin)
            assert "remembered" in await refused(berlin)
            assert len(service.logins) == 2
            machine.write("password of ann")
            assert (await berlin.ask("ann")).text == "ann"


@pytest.mark.parametrize("source", ['{{ file = "{}" }}', '{{ command = ["cat", "{}"] }}'])
async def test_also_for_other_programs(source: str, tmp_path: Path) -> None:
    """A refusal that another program stored holds for the same secret only."""
    async with TokenService() as service:
        machine = Machine(tmp_path, service.url, "file", source)
        async with machine.berlin() as first:
            await refused(first)
        async with machine.berlin() as second:
            assert "remembered" in await refused(second)
            assert len(service.logins) == 1
        machine.write("password of ann")
        async with machine.berlin() as third:
            assert (await third.ask("ann")).text == "ann"


async def test_a_secret_that_is_gone_is_named(tmp_path: Path) -> None:
    """If the refused secret cannot be read any more, the error names its file."""
    async with TokenService() as service:
        machine = Machine(tmp_path, service.url, "memory", '{{ file = "{}" }}')
        async with machine.berlin() as berlin:
            await refused(berlin)
            machine.secret.unlink()
            with pytest.raises(Exception, match=f"the secret in {machine.secret} cannot be read"):
                await berlin.ask("ann")
