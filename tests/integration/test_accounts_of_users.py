"""`account = "{key.user}"`: each user of the gateway is answered with a login of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from berlin import Berlin
from berlin.config import load_config
from berlin.errors import ConfigurationError
from berlin.gateway.setup import build_gateway
from support.gateway import OPENAI, make_key, serve
from support.token_service import RECIPE, TokenService

TABLE = """
[providers.strict]
recipe = "strict.toml"
url = "{url}"
account = "{{key.user}}"
password = {{ file = "passwords/{{key.user}}" }}
{more}
"""


def configure(folder: Path, url: str, more: str = "") -> Path:
    """Write a configuration, and the passwords of two users."""
    (folder / "strict.toml").write_text(RECIPE)
    (folder / "passwords").mkdir(exist_ok=True)
    for user in ("ann", "bob"):
        path = folder / "passwords" / user
        path.write_text(f"password of {user}")
        path.chmod(0o600)
    path = folder / "berlin.toml"
    path.write_text(TABLE.format(url=url, more=more))
    return path


@pytest.mark.parametrize("more", ["", "limit = { concurrent = 3 }"])
async def test_each_user_has_a_login(tmp_path: Path, more: str) -> None:
    """Each answer comes with the login of the user whose key asks; keys of a user share it."""
    keys = tmp_path / "keys.sqlite"
    shown = {
        name: make_key(keys, name, user=user)
        for name, user in (("ann1", "ann"), ("ann2", "ann"), ("bob", "bob"), ("none", ""))
    }
    evil = [make_key(keys, f"e{n}", user=user) for n, user in enumerate(("../bob", "bob/../ann"))]
    async with TokenService() as service:
        gateway = build_gateway(load_config(configure(tmp_path, service.url, more)), keys)
        async with serve(gateway=gateway) as at:
            names = ["ann1", "bob", "ann2"] * 4
            told = await asyncio.gather(
                *(at.ask(OPENAI, name.rstrip("12"), "strict", key=shown[name]) for name in names)
            )
            assert [answer.status for answer in told] == [200] * 12
            assert [answer.text for answer in told] == [name.rstrip("12") for name in names]
            assert len(service.logins) == 2
            refused = await at.ask(OPENAI, model="strict", key=shown["none"])
            assert (refused.status, "--user USER" in refused.message) == (401, True)
            for key in evil:
                assert (await at.ask(OPENAI, model="strict", key=key)).status == 503
            unknown = make_key(keys, "carl", user="carl")
            await asyncio.sleep(0.3)  # until the gateway looks at the keys again
            assert (await at.ask(OPENAI, model="strict", key=unknown)).status >= 500
            assert service.violations == []
            assert len(service.logins) == 2


async def test_only_in_the_gateway(tmp_path: Path) -> None:
    """Without the user of a key there is no login, and nothing is sent."""
    async with TokenService() as service:
        config = configure(tmp_path, service.url)
        with pytest.raises(ConfigurationError, match="only `berlin serve` knows"):
            Berlin("strict", config=config)
        assert service.logins == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[providers.berlin]\naccount = "{key.user}"\n', "needs another name"),
        ('[providers.x]\nclient_id = "{key.user}"\n', "must be in what belongs to a user"),
    ],
)
def test_tables_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    """A table in which users could be mixed is refused when it is read."""
    path = tmp_path / "berlin.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_config(path)
