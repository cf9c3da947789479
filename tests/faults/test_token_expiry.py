"""Tokens, second half: a token that is no longer good (T13 to T17)."""

from __future__ import annotations

import asyncio

import pytest

from berlin import errors
from support.chat_service import Answer, ChatService, Request, client


async def test_T13_an_expired_token_is_replaced_once() -> None:
    """A 401 to a token that was good is followed by one login and one repetition."""
    async with ChatService() as service, client(service) as berlin:
        await berlin.ask("first")
        old = berlin._token
        service.revoke()
        assert (await berlin.ask("second")).text == service.text
        assert len(service.logins) == 2
        assert [chat.json["prompt"] for chat in service.chats] == ["first", "second", "second"]
        assert berlin._token not in (None, old)
        assert (await berlin.ask("third")).text == service.text
        assert len(service.logins) == 2


async def test_T14_a_service_that_refuses_every_token_is_given_up() -> None:
    """With 401 to every chat there are two logins and two chats, then the error."""
    async with ChatService() as service, client(service) as berlin:

        async def refuse(_: Request) -> Answer:
            return Answer(401, {"message": "no"})

        service.on_chat = refuse
        with pytest.raises(errors.AuthenticationError) as caught:
            await berlin.ask("hello")
        assert str(caught.value) == "the service answers 401: no"
        assert caught.value.status == 401
        assert caught.value.provider == "berlin"
        assert len(service.logins) == 2
        assert len(service.chats) == 2


async def test_T15_two_hundred_requests_that_meet_401_together_log_in_once() -> None:
    """When a token ends under 200 requests at once, one login serves them all."""
    async with ChatService() as service, client(service) as berlin:
        await berlin.ask("warm up")
        old = berlin._token
        service.revoke()
        arrived = 0
        all_there = asyncio.Event()

        async def gather(request: Request) -> Answer | None:
            nonlocal arrived
            if request.token != old:
                return None
            arrived += 1
            if arrived == 200:
                all_there.set()
            await all_there.wait()
            return Answer(401)

        service.on_chat = gather
        answers = await asyncio.gather(*(berlin.ask(f"question {n}") for n in range(200)))
        assert [answer.text for answer in answers] == [service.text] * 200
        assert arrived == 200
        assert len(service.logins) == 2  # the warm-up's and one more
        assert len(service.chats) == 1 + 200 + 200


async def test_T16_a_late_401_for_an_old_token_does_not_drop_the_newer_one() -> None:
    """A 401 that comes when the token was replaced already costs no further login."""
    async with ChatService() as service, client(service) as berlin:
        await berlin.ask("warm up")
        old = berlin._token
        late = asyncio.Event()

        async def hold(request: Request) -> Answer | None:
            if request.json["prompt"] == "slow" and request.token == old:
                await late.wait()
                return Answer(401)
            return None

        service.on_chat = hold
        slow = asyncio.ensure_future(berlin.ask("slow"))
        await service.seen(chats=2)
        service.revoke()
        await berlin.ask("quick")
        newer = berlin._token
        assert newer not in (None, old)
        late.set()
        assert (await slow).text == service.text
        assert berlin._token == newer
        assert len(service.logins) == 2
        assert service.chats[-1].token == newer


async def test_T17_a_refusal_after_some_text_is_not_repeated() -> None:
    """A line that tells of a bad token after some text is an error: no text comes twice."""
    pieces = ["Hel", b'{"code": 401, "message": "the token has expired"}\n', "lo"]
    async with ChatService(pieces) as service, client(service) as berlin:
        got: list[str] = []
        with pytest.raises(errors.AuthenticationError) as caught:
            async for piece in berlin.text("hello"):
                got.append(piece)
        assert got == ["Hel"]
        assert str(caught.value) == "the service refuses the token: the token has expired"
        assert len(service.chats) == 1
        assert len(service.logins) == 1
        assert berlin._token is None  # the next request does not try it again
