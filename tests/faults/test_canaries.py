"""No public object shows a secret that it was given, however it is printed or half-made."""

from __future__ import annotations

import asyncio
import copy
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.pretty import pretty_repr

import berlin
from berlin import Berlin, errors
from berlin.auth.credentials import Credentials
from berlin.config import Overrides, load_config, resolve_settings
from berlin.gateway.access.account_reader import AccountReader
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.keys import KeyStore
from berlin.transport import Transport
from berlin.types import Endpoint, HttpRequest, Secret
from support.canaries import Canaries, forms, reported

CANARY = 'CANARY&7<of>"a-password'
PROXY = "http://ann:CANARY7ofaproxy@127.0.0.1:9"
SECRETS = (CANARY, "CANARY7ofaproxy")


def shows(text: str) -> list[str]:
    """Return the secrets in a text, in any form."""
    return [secret for secret in SECRETS if any(form in text for form in forms(secret))]


def printed(value: Any) -> Iterator[str]:
    """Yield a value as programs, debuggers and reporters print it."""
    yield from (repr(value), str(value), f"{value}", pretty_repr(value))
    for name in getattr(value, "__struct_fields__", ()):
        yield repr(getattr(value, name))
    for inner in vars(value).values() if hasattr(value, "__dict__") else ():
        yield repr(inner)


def made(tmp_path: Path) -> dict[str, Any]:
    """Return one of each object that is given a secret."""
    file = tmp_path / "berlin.toml"
    file.write_text(
        f"[providers.a]\nrecipe = 'berlin'\nurl = 'https://a.example'\naccount = 'ann'\n"
        f"password = '{CANARY}'\nproxy = '{PROXY}'\n"
    )
    file.chmod(0o600)
    config = load_config(file)
    given = Overrides(api_key=CANARY, password=CANARY, proxy=PROXY, url="https://a.example")
    accounts = Accounts()
    accounts.add("ann", Secret(CANARY))
    accounts.save(tmp_path / "data" / "accounts.json")
    key, token = KeyStore(tmp_path / "data" / "keys.sqlite").add("k")
    return {
        "berlin": Berlin("https://a.example", "ann", CANARY, proxy=PROXY),
        "config": config,
        "provider": config.providers["a"],
        "settings": resolve_settings("a", config),
        "overrides": given,
        "credentials": Credentials.checked("test", account="ann", password=CANARY),
        "endpoint": Endpoint.of("https://a.example", proxy=PROXY),
        "secret": Secret(CANARY),
        "accounts": AccountReader(tmp_path / "data" / "accounts.json"),
        "key": key,
        "token": token,
    }


def test_no_object_shows_a_secret(tmp_path: Path) -> None:
    """Neither whole nor by its members, nor those of a copy.

    A table of the file keeps its password as text, as it was written there; it does not print it.
    """
    for name, value in made(tmp_path).items():
        for text in printed(value):
            told = name == "provider" and text in (repr(CANARY), repr(PROXY))
            assert told or not shows(text), (name, text)
        if name not in ("berlin", "accounts", "provider"):
            assert not any(map(shows, printed(copy.deepcopy(value)))), name


@pytest.mark.parametrize("name", ["berlin", "settings", "overrides", "credentials", "secret"])
def test_nothing_with_a_secret_is_pickled(tmp_path: Path, name: str) -> None:
    """What would be written to a disk or sent to another process is an error instead."""
    value = made(tmp_path)[name]
    with pytest.raises((TypeError, AttributeError, ValueError, errors.BerlinError)):
        pickle.dumps(value)


@pytest.mark.parametrize(
    "name", [n for n in berlin.__all__ if isinstance(getattr(berlin, n), type)]
)
def test_a_half_made_object_has_a_repr(name: str) -> None:
    """A debugger prints objects whose constructor has not ended."""
    kind = getattr(berlin, name)
    try:
        half = kind.__new__(kind)
    except TypeError:  # abstract, or it cannot be half-made
        return
    assert "CANARY" not in repr(half)


def test_the_search_itself_finds_every_form() -> None:
    """The watch over the suite would be worth nothing if it were blind."""
    error = errors.BerlinError("no")
    for form in forms(CANARY):
        found = Canaries()
        found.plant(CANARY)
        error.args = (f"the service says {form}",)
        found.look("an error", reported(error))
        assert len(found.found) == 1, form


async def test_a_request_that_is_cancelled_shows_no_token() -> None:
    """While the head of an answer is awaited, no variable of our frames has what was sent."""
    seen = asyncio.Event()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = Transport(Endpoint(f"http://127.0.0.1:{port}"), "test")
    secret = "a-token-that-nobody-may-see"
    request = HttpRequest(
        "GET", "/", headers={"token": Secret(secret)}, query={"key": Secret(secret)}
    )
    asking = asyncio.ensure_future(transport.open(request, 5))
    await seen.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await asking
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if "transport" in frame.f_code.co_filename]
    assert ours
    assert secret not in repr([frame.f_locals for frame in ours])
    await transport.aclose()
    server.close()
    await server.wait_closed()
