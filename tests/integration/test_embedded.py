"""The embedded service: what answers when nothing is set up."""

from __future__ import annotations

import pytest

from berlin import Berlin, Timeouts, errors
from berlin.cli.chat.opening import open_embedded


async def test_answers_over_a_real_login() -> None:
    """The guide answers through the class `Berlin`, after a login, over HTTP on loopback."""
    async with open_embedded() as (berlin, model, _):
        assert model == ""
        assert berlin.url.startswith("http://127.0.0.1:")
        assert berlin._token is None
        answer = await berlin.ask("Hello")
        assert answer.text.startswith("Hello! I am the built-in guide to Berlin.")
        assert answer.finish_reason == "stop"
        assert berlin._token is not None


async def test_answer_comes_in_pieces() -> None:
    """The answer is a stream, not one piece."""
    async with open_embedded() as (berlin, *_):
        pieces = [piece async for piece in berlin.text("Hello")]
    assert len(pieces) > 5
    assert "".join(pieces).startswith("Hello! I am")


async def test_greets_in_russian() -> None:
    """A question in Russian is answered in Russian."""
    async with open_embedded() as (berlin, *_):
        assert (await berlin.ask("Привет")).text.startswith("Здравствуйте! Я — встроенный")


async def test_each_has_a_password_of_its_own() -> None:
    """Nobody else gets in: the password is made up for each start."""
    async with open_embedded() as (first, *_), open_embedded() as (second, *_):
        assert first.url != second.url
        async with Berlin(first.url, "guest", "guest", timeout=Timeouts(total=30)) as stranger:
            with pytest.raises(errors.AuthenticationError):
                await stranger.ask("Hello")
        await first.ask("Hello")
        await second.ask("Hello")
        assert first._token != second._token


async def test_is_gone_afterwards() -> None:
    """After the block nothing listens any more."""
    async with open_embedded("some-model") as (berlin, model, _):
        assert model == "some-model"
        url = berlin.url
    async with Berlin(url, "guest", "guest", timeout=Timeouts(total=30)) as late:
        with pytest.raises(errors.ConnectError):
            await late.ask("Hello")


async def test_ends_also_when_the_block_fails() -> None:
    """An error in the block comes out, and the service is closed all the same."""
    with pytest.raises(ZeroDivisionError):
        async with open_embedded() as (berlin, *_):
            url = berlin.url
            raise ZeroDivisionError
    async with Berlin(url, "guest", "guest", timeout=Timeouts(total=30)) as late:
        with pytest.raises(errors.ConnectError):
            await late.ask("Hello")
