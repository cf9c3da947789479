"""Tokens, first half: the login itself (T01 to T12)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from berlin import Berlin, Timeouts, errors
from support.chat_service import Answer, ChatService, Request, client, no_new_tasks
from support.moments import moment


def token_answer(token: object) -> Answer:
    return Answer(200, {"data": {"token": token}})


async def test_T01_a_thousand_cold_coroutines_log_in_once() -> None:
    """A thousand requests that start without a token share one login, and all are answered."""
    async with ChatService() as service, client(service) as berlin:
        answers = await asyncio.gather(*(berlin.ask(f"question {n}") for n in range(1000)))
        assert [answer.text for answer in answers] == [service.text] * 1000
        assert len(service.logins) == 1
        assert len(service.chats) == 1000
        assert service.violations == []


async def test_T02_a_refused_login_is_refused_for_all_who_wait() -> None:
    """When the login is refused while 999 others wait, all get the error of that one login."""
    async with ChatService() as service, client(service) as berlin:
        decided = asyncio.Event()

        async def refuse(_: Request) -> Answer:
            await decided.wait()
            return Answer(401, {"message": "no such login"})

        service.on_login = refuse
        asking = [asyncio.ensure_future(berlin.ask("hello")) for _ in range(1000)]
        await service.seen(logins=1)
        await asyncio.sleep(0.05)
        decided.set()
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.AuthenticationError}
        assert {str(outcome) for outcome in outcomes} == {
            "the service refuses account 'account': no such login"
        }
        assert len(set(map(id, outcomes))) == 1000  # each its own, so tracebacks do not pile up
        assert len(service.logins) == 1
        assert service.chats == []


async def test_T03_the_first_waiter_is_cancelled_during_the_login() -> None:
    """Cancelling the request that began the login does not cancel it for the others."""
    async with ChatService() as service, client(service) as berlin:
        decided = asyncio.Event()

        async def wait(_: Request) -> None:
            await decided.wait()

        service.on_login = wait
        first = asyncio.ensure_future(berlin.ask("first"))
        await service.seen(logins=1)
        others = [asyncio.ensure_future(berlin.ask("other")) for _ in range(20)]
        await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        decided.set()
        answers = await asyncio.gather(*others)
        assert [answer.text for answer in answers] == [service.text] * 20
        assert len(service.logins) == 1
        assert len(service.chats) == 20


async def test_T04_all_waiters_are_cancelled_during_the_login() -> None:
    """When nobody waits any more the login ends: no task and no connection is left."""
    async with ChatService() as service, client(service) as berlin:
        held = asyncio.Event()

        async def hang(_: Request) -> None:
            await held.wait()

        service.on_login = hang
        async with no_new_tasks():
            asking = [asyncio.ensure_future(berlin.ask("hello")) for _ in range(20)]
            await service.seen(logins=1)
            for task in asking:
                task.cancel()
            outcomes = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
            await service.all_closed()
        service.on_login = None
        assert (await berlin.ask("again")).text == service.text
        assert len(service.logins) == 2


ALL_CANCELLED = """
import asyncio, gc, os
from berlin import Berlin

async def main():
    berlin = Berlin()
    asking = [asyncio.ensure_future(berlin.ask("hello")) for _ in range(20)]
    while not os.path.exists(os.environ["HELD"]):  # until the service has the login
        await asyncio.sleep(0.01)
    for task in asking:
        task.cancel()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(o) for o in outcomes} == {asyncio.CancelledError}, outcomes
    async with asyncio.timeout(20):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)
    del asking, outcomes
    gc.collect()
    print("clean")

asyncio.run(main())
"""


async def test_T04_cancelled_waiters_leave_no_warning(tmp_path: Path) -> None:
    """A process that cancelled all who waited for a login ends without a word."""
    async with ChatService() as service:
        held = tmp_path / "held"

        async def hang(_: Request) -> None:
            held.touch()
            await asyncio.Event().wait()

        service.on_login = hang
        program = await service.run(ALL_CANCELLED, environment={"HELD": str(held)})
        assert (program.out, program.err, program.code) == ("clean\n", "", 0)
        assert len(service.logins) == 1


async def test_T05_every_waiter_of_a_hanging_login_times_out_by_itself() -> None:
    """Who waits for a login that hangs waits as long as its own limit says, not another's."""
    short = Timeouts(connect=1, first_event=0.3, idle=1, total=9)
    long = Timeouts(connect=1, first_event=1.0, idle=1, total=9)

    said: list[str] = []  # in the order of the ends

    async def waited(berlin: Berlin, timeouts: Timeouts) -> None:
        with pytest.raises(errors.UpstreamTimeoutError) as caught:
            await berlin.ask("hello", timeout=timeouts)
        said.append(str(caught.value))

    async with ChatService() as service, client(service) as berlin:

        async def hang(_: Request) -> None:
            await asyncio.Event().wait()

        service.on_login = hang
        await asyncio.gather(waited(berlin, long), waited(berlin, short))
        assert said == [
            f"first_event: no event arrived within {limit} s; raise Timeouts.first_event if it "
            "needs longer"
            for limit in ("0.3", "1")
        ]
        await service.all_closed()


async def test_T06_a_login_that_fails_once_with_500_is_tried_again() -> None:
    """A 500 at the login is followed by another login, and the request succeeds."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(500, "out of order"))
        assert (await berlin.ask("hello")).text == service.text
        assert len(service.logins) == 2
        assert len(service.chats) == 1


async def test_T07_a_rate_limited_login_waits_as_long_as_the_service_says() -> None:
    """A 429 at the login with `Retry-After: 1` is tried again after that second, not before."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(429, "slow down", {"Retry-After": "1"}))
        second = moment(1)
        assert (await berlin.ask("hello")).text == service.text
        assert second.is_set()
        assert len(service.logins) == 2


async def test_T07_a_login_that_is_limited_for_long_says_so_at_once() -> None:
    """A 429 at the login that asks for an hour is an error that tells of the hour."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(429, "slow down", {"Retry-After": "3600"}))
        with pytest.raises(errors.RateLimitError) as caught:
            await berlin.ask("hello")
        assert caught.value.retry_after == 3600
        assert caught.value.status == 429
        assert str(caught.value) == "the service answers 429: slow down (at the login)"
        assert len(service.logins) == 1


async def test_T08_a_login_answered_with_a_page_is_a_protocol_error() -> None:
    """HTML with status 200 at the login is a protocol error that names the page's title only."""
    page = "<!DOCTYPE html><title>Maintenance</title>" + "<p>come back later</p>" * 1000
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(200, page, {"Content-Type": "text/html"}))
        with pytest.raises(errors.ProtocolError, match=r"^the login answers 200: a web ") as caught:
            await berlin.ask("hello")
        assert "'Maintenance'" in str(caught.value)
        assert "come back" not in str(caught.value)
        assert service.chats == []


@pytest.mark.parametrize(
    "body", [{}, {"data": {}}, {"data": None}, {"data": "text"}, {"token": "elsewhere"}]
)
async def test_T09_a_login_without_a_token_in_its_answer(body: dict[str, object]) -> None:
    """JSON without `data` or `data.token` is an authentication error that names the place."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(200, body))
        with pytest.raises(errors.AuthenticationError) as caught:
            await berlin.ask("hello")
        assert str(caught.value).startswith("the login gave no token at /data/token; ")
        assert service.chats == []


async def test_T09_a_login_answered_with_another_kind_of_json() -> None:
    """JSON that is no object is a protocol error, as HTML is."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(Answer(200, "[]"))
        with pytest.raises(errors.ProtocolError) as caught:
            await berlin.ask("hello")
        assert str(caught.value) == "the login answers 200: 2 bytes that are not a JSON object"
        assert service.chats == []


@pytest.mark.parametrize(
    ("token", "kind", "message"),
    [
        (None, errors.AuthenticationError, "the login gave no token at /data/token; "),
        ("", errors.AuthenticationError, "the login gave no token at /data/token; "),
        (42, errors.ProtocolError, "the token at /data/token must be text, not int"),
        (True, errors.ProtocolError, "the token at /data/token must be text, not bool"),
        (["a"], errors.ProtocolError, "the token at /data/token must be text, not list"),
        ({"a": 1}, errors.ProtocolError, "the token at /data/token must be text, not dict"),
    ],
    ids=repr,
)
async def test_T10_a_token_that_is_no_text(
    token: object, kind: type[errors.BerlinError], message: str
) -> None:
    """An absent or empty token is an authentication error; one of another type breaks protocol."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(token_answer(token))
        with pytest.raises(errors.BerlinError) as caught:
            await berlin.ask("hello")
        assert type(caught.value) is kind
        assert str(caught.value).startswith(message)
        assert service.chats == []


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\x00b", " a", "жетон"])
async def test_T11_a_token_that_would_inject_a_header_is_refused_before_use(token: str) -> None:
    """A token with line ends or other characters that no header may carry is never sent."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(token_answer(token))
        with pytest.raises(errors.ProtocolError) as caught:
            await berlin.ask("hello")
        assert (
            str(caught.value)
            == "the token at /data/token holds characters that no HTTP header may carry"
        )
        assert service.chats == []
        assert all("x-evil" not in request.headers for request in service.logins)


async def test_T12_a_token_of_a_megabyte_is_refused() -> None:
    """A token that no server would take back in a header is a protocol error."""
    async with ChatService() as service, client(service) as berlin:
        service.login_answers.append(token_answer("x" * 1_000_000))
        with pytest.raises(errors.ProtocolError) as caught:
            await berlin.ask("hello")
        assert str(caught.value) == "the token at /data/token is longer than 16384 bytes"
        assert service.chats == []
