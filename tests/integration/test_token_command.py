"""`berlin token`, `berlin exec` and the adapters: one login for all programs of a machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
import httpx
import pytest

from berlin import errors
from berlin.adapters.aiohttp import berlin_middleware
from berlin.adapters.httpx import BerlinAuth
from support.oauth_service import FlowService, OAuthService, provider, reply, write_recipe

AUTH = '[auth]\nflow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "/token"\n'
CLIENT = {"client_id": "client", "client_secret": "secret"}


async def berlin(
    config: Path, *words: str, stdin: str = "", **environ: str
) -> tuple[int | None, str, str]:
    """Run a command; return its exit code, output and errors."""
    config.chmod(0o600)  # it holds a secret
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "berlin", *words),
        env={**os.environ, "BERLIN_CONFIG": str(config), **environ},
        stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    return process.returncode, out.decode(), err.decode()


async def test_one_login_for_all(tmp_path: Path) -> None:
    """Chat, token and exec, each a process, use the token of one login."""
    async with OAuthService() as service:
        config = write_recipe(tmp_path, AUTH, url=service.url, **CLIENT)
        assert await berlin(config, "chat", "Hello") == (0, "good\n", "")
        assert await berlin(config, "token", "tested") == (0, "access-1\n", "")
        header = await berlin(config, "token", "tested", "--header")
        assert header == (0, "Authorization: Bearer access-1\n", "")
        assert await berlin(config, "token", "tested", "--env", "KEY") == (0, "KEY=access-1\n", "")
        code, out, _ = await berlin(config, "token", "tested", "--json")
        told = json.loads(out)
        assert code == 0
        assert told == {
            "token": "access-1",
            "expires_at": None,
            "headers": {"Authorization": "Bearer access-1"},
            "query": {},
        }
        show = "import os; print(os.environ['KEY'])"
        run = await berlin(
            config, "exec", "tested", "--env", "KEY", "--", sys.executable, "-c", show
        )
        assert run == (0, "access-1\n", "")
    assert len(service.at("/token")) == 1


async def test_a_refused_token_is_handed_back(tmp_path: Path) -> None:
    """After `--reject` another token is printed, and everybody has that one."""
    async with OAuthService() as service:
        config = write_recipe(tmp_path, AUTH, url=service.url, **CLIENT)
        assert (await berlin(config, "token", "tested"))[1] == "access-1\n"
        again = await berlin(config, "token", "tested", "--reject", "-", stdin="access-1\n")
        assert again == (0, "access-2\n", "")
        # One that is not in use any more changes nothing.
        late = await berlin(config, "token", "tested", "--reject", "access-1")
        assert late == (0, "access-2\n", "")
        assert (await berlin(config, "token", "tested"))[1] == "access-2\n"
    assert len(service.at("/token")) == 2


async def test_no_list_of_processes_shows_the_token(tmp_path: Path) -> None:
    """`exec` gives the token in the environment: no argument of the program holds it."""
    async with OAuthService() as service:
        config = write_recipe(tmp_path, AUTH, url=service.url, **CLIENT)
        show = "print(open('/proc/self/cmdline', 'rb').read().decode().split(chr(0)))"
        code, out, _ = await berlin(config, "exec", "tested", "--", sys.executable, "-c", show)
    assert code == 0
    assert "access-1" not in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("token", "tested", "--env", "a b"), 2, "is not the name of an environment variable"),
        (("token", "tested", "--json", "--header"), 2, "use only one of"),
        (("token", "teste"), 2, "did you mean 'tested'?"),
        (("exec", "tested"), 2, "Missing argument"),
        (("exec", "tested", "--", "no-such-program"), 2, "no-such-program cannot be run"),
    ],
)
async def test_mistakes(words: tuple[str, ...], code: int, says: str, tmp_path: Path) -> None:
    """A mistake is one line that says what to do, and no token is printed."""
    async with OAuthService() as service:
        config = write_recipe(tmp_path, AUTH, url=service.url, **CLIENT)
        ended = await berlin(config, *words)
    assert ended[:2] == (code, "")
    assert says in ended[2]


async def test_a_service_without_a_token(tmp_path: Path) -> None:
    """A service that asks for nothing has no token: that is said."""
    async with FlowService() as service:
        config = write_recipe(tmp_path, "", url=service.url)
        code, out, err = await berlin(config, "token", "tested")
    assert (code, out) == (2, "")
    assert "this service needs no token" in err


async def test_refused_credentials(tmp_path: Path) -> None:
    """Refused credentials end with exit code 3, and every process of the user knows of it."""
    async with FlowService() as service:
        service.answers["/token"] = [reply({"error": "invalid_client"}, 401)]
        config = write_recipe(tmp_path, AUTH, url=service.url, **CLIENT)
        code, out, _ = await berlin(config, "token", "tested")
        assert (code, out) == (3, "")
        code, listed, _ = await berlin(config, "tokens")
    assert code == 0
    assert "refused; tried again in" in listed or "no token" in listed
    assert len(service.at("/token")) == 1


async def test_httpx(tmp_path: Path) -> None:
    """httpx sends the token, and a 401 gets a new one and one more try."""
    async with (
        OAuthService() as service,
        provider(tmp_path, service.url, AUTH, **CLIENT) as login,
        httpx.AsyncClient(auth=BerlinAuth(login), trust_env=False) as client,
    ):
        assert (await client.get(f"{service.url}/chat")).status_code == 200
        service.expire_all()
        assert (await client.get(f"{service.url}/chat")).status_code == 200
        with pytest.raises(errors.ConfigurationError, match=r"is not sent to evil\.example"):
            await client.get("https://evil.example/chat")
    assert service.paths == ["/token", "/chat", "/chat", "/token", "/chat"]


async def test_httpx_without_a_loop(tmp_path: Path) -> None:
    """The synchronous client of httpx works too."""
    async with (
        OAuthService() as service,
        provider(tmp_path, service.url, AUTH, **CLIENT) as login,
    ):

        def get() -> list[int]:
            with httpx.Client(auth=BerlinAuth(login), trust_env=False) as client:
                first = client.get(f"{service.url}/chat").status_code
                service.expire_all()
                return [first, client.get(f"{service.url}/chat").status_code]

        assert await asyncio.to_thread(get) == [200, 200]
    assert len(service.at("/token")) == 2


async def test_aiohttp(tmp_path: Path) -> None:
    """aiohttp sends the token, and a 401 gets a new one and one more try."""
    async with (
        OAuthService() as service,
        provider(tmp_path, service.url, AUTH, **CLIENT) as login,
        aiohttp.ClientSession(middlewares=[berlin_middleware(login)]) as session,
    ):
        for _ in range(2):
            async with session.get(f"{service.url}/chat") as answer:
                assert answer.status == 200
            service.expire_all()
        with pytest.raises(errors.ConfigurationError, match=r"is not sent to evil\.example"):
            await session.get("https://evil.example/chat")
    assert len(service.at("/token")) == 2
