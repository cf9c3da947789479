"""The command flow: a program prints the token, against a real service."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from pathlib import Path
from secrets import token_hex

import pytest

from berlin import errors
from support.clock import pass_time
from support.oauth_service import (
    GOOD,
    FlowService,
    provider,
    reply,
)


def command(*words: str, more: str = "") -> str:
    """Return the table of a program in Python."""
    return f'[auth]\nflow = "command"\ncommand = {json.dumps([sys.executable, *words])}\n{more}\n'


async def test_command(tmp_path: Path) -> None:
    """The program's output, without the white space around it, is the token."""
    count = tmp_path / "count"
    text = f"open({str(count)!r}, 'a').write('x'); print('  t1 ')"
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, command("-c", text)) as berlin,
    ):
        await berlin.ask("Hello")
        await berlin.ask("Hello")
    assert [seen.headers["Authorization"] for seen in service.seen] == ["Bearer t1"] * 2
    assert count.read_text() == "x"


async def test_command_with_an_expiry(tmp_path: Path) -> None:
    """The JSON that a program prints says until when the token is good; then it runs again."""
    count = tmp_path / "count"
    text = (
        f"import json; open({str(count)!r}, 'a').write('x');"
        f"print(json.dumps({{'status': {{'t': 't' + str(len(open({str(count)!r}).read())),"
        "'in': 30}}))"
    )
    more = 'take = { token = "/status/t", expires_in = "/status/in" }'
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, command("-c", text, more=more)) as berlin,
    ):
        await berlin.ask("Hello")
        pass_time(berlin, 31)
        await berlin.ask("Hello")
    assert [seen.headers["Authorization"] for seen in service.seen] == ["Bearer t1", "Bearer t2"]


async def test_command_again_after_a_401(tmp_path: Path) -> None:
    """A token that the service refuses is got anew from the program, once."""
    count = tmp_path / "count"
    text = (
        f"open({str(count)!r}, 'a').write('x'); print('t' + str(len(open({str(count)!r}).read())))"
    )
    async with FlowService() as service:
        service.answers["/chat"] = [reply({"message": "old"}, 401), GOOD]
        async with provider(tmp_path, service.url, command("-c", text)) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert [seen.headers["Authorization"] for seen in service.seen] == ["Bearer t1", "Bearer t2"]


@pytest.mark.parametrize(
    ("words", "more", "kind", "said"),
    [
        (
            ("-c", "import sys; print('no session', file=sys.stderr); sys.exit(3)"),
            "",
            errors.AuthenticationError,
            "failed (3): no session",
        ),
        (("-c", "pass"), "", errors.AuthenticationError, "gave no token"),
        (("-c", "print('a'); print('b')"), "", errors.ProtocolError, "no HTTP header may carry"),
        (
            ("-c", "print('a')"),
            'take = { token = "/t" }',
            errors.ProtocolError,
            "did not print JSON",
        ),
        (
            ("-c", "print('{}')"),
            'take = { token = "/t" }',
            errors.AuthenticationError,
            "gave no token",
        ),
        (("-c", "print('x' * 300000)"), "", errors.ProtocolError, "more than 262144 bytes"),
        (("-c", "print('x' * 20000)"), "", errors.ProtocolError, "longer than 16384 bytes"),
    ],
)
async def test_command_that_fails(
    words: tuple[str, ...],
    more: str,
    kind: type[errors.BerlinError],
    said: str,
    tmp_path: Path,
) -> None:
    """A program that gives no token is told with what it said; nothing is sent."""
    async with FlowService() as service:
        async with provider(tmp_path, service.url, command(*words, more=more)) as berlin:
            with pytest.raises(errors.BerlinError) as caught:
                await berlin.ask("Hello")
        assert service.seen == []
    assert type(caught.value) is kind
    assert said in caught.value.message


async def test_command_that_is_not_there(tmp_path: Path) -> None:
    """A program that does not exist is a mistake of the set-up, and named."""
    auth = '[auth]\nflow = "command"\ncommand = ["/nowhere/token-program"]\n'
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, auth) as berlin,
    ):
        with pytest.raises(
            errors.ConfigurationError, match="the program /nowhere/token-program cannot be run"
        ):
            await berlin.ask("Hello")


def has_process(mark: str) -> bool:
    """Return whether a program runs that has this in its arguments."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may end meanwhile
            if mark.encode() in path.read_bytes():
                return True
    return False


async def test_command_that_hangs(tmp_path: Path) -> None:
    """A program that does not end is killed when its time is over."""
    mark = f"hangs-{token_hex(8)}"
    text = f"import time; time.sleep(60)  # {mark}"
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, command("-c", text, more="timeout_s = 0.6")) as berlin,
    ):
        with pytest.raises(errors.AuthenticationError, match=r"printed no token in 0\.6 s"):
            await berlin.ask("Hello")
    assert not has_process(mark)


async def test_command_whose_child_hangs(tmp_path: Path) -> None:
    """What a program has started is ended with it: nothing of it is left running."""
    mark = f"60.{secrets.randbelow(10**12)}"
    script = f"sleep {mark} & wait"
    auth = (
        f'[auth]\nflow = "command"\ntimeout_s = 0.6\ncommand = ["sh", "-c", {json.dumps(script)}]\n'
    )
    async with FlowService() as service, provider(tmp_path, service.url, auth) as berlin:
        with pytest.raises(errors.AuthenticationError, match=r"printed no token in 0\.6 s"):
            await berlin.ask("Hello")
    async with asyncio.timeout(30):
        while has_process(mark):
            await asyncio.sleep(0.02)


async def test_command_without_a_shell(tmp_path: Path) -> None:
    """No shell reads the arguments: they arrive as they are written."""
    words = ("$HOME", "`id`", "; touch x", "*", "a b", "> y", '"')
    text = "import sys; print('-'.join(sys.argv[1:]))"
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, command("-c", text, *words)) as berlin,
    ):
        await berlin.ask("Hello")
    assert service.seen[0].headers["Authorization"] == f"Bearer {'-'.join(words)}"


@pytest.mark.parametrize("where", ["stdout", "stderr"])
async def test_command_that_prints_for_ever(tmp_path: Path, where: str) -> None:
    """A program without an end is cut by the size of its output, long before its time is over."""
    text = f"import sys\nwhile True: sys.{where}.write('x' * 65536)"
    async with (
        FlowService() as service,
        provider(tmp_path, service.url, command("-c", text)) as berlin,
    ):
        with pytest.raises(errors.ProtocolError, match="printed more than 262144 bytes"):
            await berlin.ask("Hello")
