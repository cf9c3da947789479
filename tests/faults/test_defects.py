"""Eleven defects that implementations of this class had, each with the facts that exclude it.

All of it goes through `Berlin.create_async_generator`, the one call that they have in common.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from berlin import Berlin, errors
from support.chat_service import HANG, Answer, ChatService, line
from support.moments import moment

HELLO = [{"role": "user", "content": "hello"}]
I_AM_ALICE = [{"role": "user", "content": "I am alice"}]
I_AM_BOB = [{"role": "user", "content": "I am bob"}]
ENDLESS = ("one", "two", HANG)


def use(service: ChatService, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service.environment().items():
        if name.startswith("BERLIN_"):
            monkeypatch.setenv(name, value)


def ask(messages: Any = HELLO, **kwargs: Any) -> AsyncGenerator[str]:
    return Berlin.create_async_generator("", messages, **kwargs)


async def whole(messages: Any = HELLO, **kwargs: Any) -> str:
    return "".join([piece async for piece in ask(messages, **kwargs)])


async def pieces_and_error(**kwargs: Any) -> tuple[list[str], BaseException | None]:
    """Return the pieces of an answer and the error that ended it, if one did."""
    pieces: list[str] = []
    try:
        async for piece in ask(**kwargs):
            pieces.append(piece)
    except Exception as error:
        return pieces, error
    return pieces, None


async def test_defect_01_the_consumer_s_own_error_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is thrown into the answer where a piece is handed on comes out unchanged."""
    async with ChatService(ENDLESS) as service:
        use(service, monkeypatch)
        pieces = ask()
        assert await anext(pieces) == "one"
        with pytest.raises(LookupError, match=r"^of the consumer$"):
            await pieces.athrow(LookupError("of the consumer"))


async def test_defect_01_aclose_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the answer in its middle raises nothing and ends the connection."""
    async with ChatService(ENDLESS) as service:
        use(service, monkeypatch)
        async with aclosing(ask()) as pieces:
            assert await anext(pieces) == "one"
        await service.all_closed()


async def test_defect_01_cancellation_stays_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is cancelled ends with CancelledError, while it waits and between pieces."""
    async with ChatService(ENDLESS) as service:
        use(service, monkeypatch)
        asking = asyncio.ensure_future(whole())
        await service.seen(chats=1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        pieces = ask()
        assert await anext(pieces) == "one"
        with pytest.raises(asyncio.CancelledError):
            await pieces.athrow(asyncio.CancelledError())


async def test_defect_02_an_expired_token_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the token has expired the next call logs in again, once, and succeeds."""
    async with ChatService() as service:
        use(service, monkeypatch)
        assert await whole() == service.text
        service.revoke()
        assert await whole() == service.text
        assert await whole() == service.text
        assert len(service.logins) == 2


async def test_defect_03_eight_first_calls_log_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight calls at once, without a token, share one login."""
    async with ChatService() as service:
        use(service, monkeypatch)
        answers = await asyncio.gather(*(whole() for _ in range(8)))
        assert answers == [service.text] * 8
        assert len(service.logins) == 1


async def test_defect_04_a_token_belongs_to_its_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the account changes, the token of the one before is not used."""
    accounts = {"alice": "secret of alice", "bob": "secret of bob"}
    async with ChatService(accounts=accounts) as service:
        use(service, monkeypatch)
        assert await whole(I_AM_ALICE) == service.text
        monkeypatch.setenv("BERLIN_ACCOUNT", "bob")
        monkeypatch.setenv("BERLIN_PASSWORD", accounts["bob"])
        assert await whole(I_AM_BOB) == service.text
        assert service.violations == []


async def test_defect_04_account_and_password_are_no_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`account=` and `password=` log in, and the request to the model holds neither."""
    accounts = {"alice": "secret of alice", "bob": "secret of bob"}
    async with ChatService(accounts=accounts) as service:
        use(service, monkeypatch)
        given = {"account": "bob", "password": accounts["bob"]}
        assert await whole(I_AM_BOB, **given) == service.text
        assert service.login_count == {"bob": 1}
        assert "secret of bob" not in service.chats[0].body.decode()
        assert set(service.chats[0].json["options"]) & {"account", "password"} == set()


async def test_defect_05_stream_and_timeout_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """`stream` and `timeout` are for this side: the service gets neither."""
    async with ChatService() as service:
        use(service, monkeypatch)
        assert await whole(stream=True, timeout=20) == service.text
        assert set(service.chats[0].json["options"]) & {"stream", "timeout"} == set()


async def test_defect_05_an_option_of_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """`temperature=None` leaves the default in its place."""
    async with ChatService() as service:
        use(service, monkeypatch)
        assert await whole(temperature=None) == service.text
        assert service.chats[0].json["options"]["temperature"] == 0


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", math.nan], ids=lambda v: repr(v)[:8])
async def test_defect_05_a_value_that_json_cannot_carry(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option that is no JSON value is a RuntimeError that names it; nothing is sent."""
    async with ChatService() as service:
        use(service, monkeypatch)
        pieces, error = await pieces_and_error(top_p=value)
        assert pieces == []
        assert type(error) is errors.InvalidRequestError
        assert str(error).startswith("options.top_p: ")
        assert service.opened == 0


@pytest.mark.parametrize("stalled", ["login", "head", "stream"])
async def test_defect_06_a_stalled_service_is_given_up(
    stalled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that stalls, wherever it does, ends the call at the limit that was given."""
    async with ChatService() as service:
        use(service, monkeypatch)

        async def hang(_: object) -> None:
            await asyncio.Event().wait()

        match stalled:
            case "login":
                service.on_login = hang
            case "head":
                service.on_chat = hang
            case _:
                service.pieces = ENDLESS
        limit = moment(0.29)
        async with asyncio.timeout(30):  # so that this test ends in any case
            _, error = await pieces_and_error(timeout=0.3)
        assert type(error) is errors.UpstreamTimeoutError
        assert isinstance(error, RuntimeError)
        assert limit.is_set()


@pytest.mark.parametrize("size", [600_000, 2_000_000])
async def test_defect_07_a_long_line_is_read(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line may be much longer than the buffer that it is read with."""
    async with ChatService(["x" * size, "end"]) as service:
        use(service, monkeypatch)
        assert await whole() == "x" * size + "end"


async def test_defect_08_a_line_without_content_is_a_typed_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An object that is not described ends the answer with an error of its own class."""
    async with ChatService(["Hel", b'{"unknown": 1}\n', "lo"]) as service:
        use(service, monkeypatch)
        pieces, error = await pieces_and_error()
        assert pieces == ["Hel"]
        assert type(error) is errors.ProtocolError


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (line("lost")[:-6], errors.TruncatedStreamError),
        (ConnectionResetError, errors.ConnectionLostError),
    ],
    ids=["in a line", "by a reset"],
)
async def test_defect_09_a_cut_off_answer_is_no_success(
    end: object, kind: type[errors.BerlinError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that was cut off hands on what came, then tells that the rest is missing."""
    async with ChatService(["Hel", 0.05, end]) as service:
        use(service, monkeypatch)
        pieces, error = await pieces_and_error()
        assert pieces == ["Hel"]
        assert type(error) is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200, {"data": None}), errors.AuthenticationError),
        (Answer(200, {"message": "wrong password"}), errors.AuthenticationError),
        (
            Answer(200, "<html>busy</html>", {"Content-Type": "text/html"}),
            errors.ProtocolError,
        ),
    ],
    ids=["data is null", "no data", "a page"],
)
async def test_defect_10_a_login_without_a_token_is_a_typed_error(
    answer: Answer, kind: type[errors.BerlinError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that is answered 200 but gives no token is a RuntimeError of its own class."""
    async with ChatService() as service:
        use(service, monkeypatch)
        service.login_answers.append(answer)
        pieces, error = await pieces_and_error()
        assert pieces == []
        assert type(error) is kind
        assert isinstance(error, RuntimeError)
        assert service.chats == []


async def test_defect_11_calls_share_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that follow one another use one connection, also the login's."""
    async with ChatService() as service:
        use(service, monkeypatch)
        for _ in range(5):
            assert await whole() == service.text
        assert service.opened == 1
