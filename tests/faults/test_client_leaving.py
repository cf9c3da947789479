"""What clients do, first part: they leave, stop, and are cancelled (C01 to C07, C12, C13, C30)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from berlin import Berlin, ChatRequest, Timeouts, errors
from support.chat_service import HANG, Answer, ChatService, client, no_new_tasks

ENDLESS = ("one", "two", HANG)


async def test_C01_leaving_the_loop_and_aclose_end_the_connection() -> None:
    """`aclose` after an early end of the loop closes the connection of an endless answer."""
    async with ChatService(ENDLESS) as service, client(service) as berlin, no_new_tasks():
        pieces = berlin.text("hello")
        async for piece in pieces:
            assert piece == "one"
            break
        assert service.open
        await pieces.aclose()
        await service.all_closed()


async def test_C02_a_generator_that_is_left_and_dropped_ends_the_connection() -> None:
    """Leaving the loop without closing anything closes the connection when it is collected."""
    async with ChatService(ENDLESS) as service, client(service) as berlin:

        async def leave() -> None:
            async for piece in berlin.text("hello"):
                assert piece == "one"
                break

        await leave()
        gc.collect()
        await service.all_closed()
        assert service.opened == 1


LEFT_AND_DROPPED = """
import asyncio, gc
from berlin import Berlin

async def main():
    messages = [{"role": "user", "content": "hello"}]
    async for piece in Berlin.create_async_generator("", messages):
        break
    gc.collect()
    async with asyncio.timeout(20):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)
    print(piece)

asyncio.run(main())
"""


async def test_C02_no_warning_tells_of_a_generator_that_was_dropped() -> None:
    """A program that drops an answer in its middle ends without an `Unclosed` warning."""
    async with ChatService(ENDLESS) as service:
        program = await service.run(LEFT_AND_DROPPED)
        assert (program.out, program.err, program.code) == ("one\n", "", 0)


async def test_C03_a_generator_that_is_never_iterated_does_nothing() -> None:
    """Making a generator without iterating it sends nothing and warns of nothing."""
    async with ChatService() as service, client(service) as berlin:
        berlin.text("hello")
        berlin.stream(ChatRequest.of("hello"))
        unused = Berlin.create_async_generator(
            "", [{"role": "user", "content": "hello"}], url=service.url, account="a", password="p"
        )
        del unused
        gc.collect()
        await asyncio.sleep(0.05)
        assert service.opened == 0


async def test_C04_a_slow_consumer_holds_the_service_back() -> None:
    """While a piece is held nothing piles up, and no limit but the total runs."""
    piece = "x" * 64 * 1024
    count = 2000  # 128 MB in all
    timeouts = Timeouts(connect=10, first_event=10, idle=1.0, total=60)
    async with (
        ChatService([piece] * count) as service,
        client(service, timeouts=timeouts) as berlin,
    ):
        pieces = berlin.text("hello")
        await anext(pieces)
        await asyncio.sleep(0.3)
        held_back_at = service.sent
        await asyncio.sleep(1.2)  # longer than `idle`
        assert service.sent == held_back_at
        assert service.sent < 32 * 1024 * 1024
        got = 1
        async for more in pieces:
            assert more == piece
            got += 1
        assert got == count


async def test_C05_a_consumer_that_raises_gets_its_own_error() -> None:
    """The consumer's error comes out unchanged, and the connection ends."""
    async with ChatService(ENDLESS) as service, client(service) as berlin:

        async def consume() -> None:
            async for _ in berlin.text("hello"):
                raise LookupError("of the consumer")

        async def attempt() -> None:
            with pytest.raises(LookupError, match=r"^of the consumer$") as caught:
                await consume()
            assert caught.value.__cause__ is None
            await service.all_closed()

        async with no_new_tasks():
            await attempt()  # logs in, too
            await attempt()


CANCELLED_EVERYWHERE = """
import asyncio, gc
from contextlib import aclosing
from berlin import Berlin

berlin = Berlin()

class CancelAt:
    "Runs a coroutine and cancels its task at its n-th await."
    def __init__(self, coroutine, at):
        self.coroutine, self.at, self.awaits = coroutine, at, 0

    def __await__(self):
        try:
            waiting = self.coroutine.send(None)
            while True:
                self.awaits += 1
                if self.awaits == self.at:
                    asyncio.current_task().cancel()
                try:
                    sent = yield waiting
                except BaseException as error:
                    waiting = self.coroutine.throw(error)
                else:
                    waiting = self.coroutine.send(sent)
        except StopIteration as end:
            return end.value

async def answer():
    async with aclosing(berlin.text("hello")) as pieces:
        return "".join([piece async for piece in pieces])

async def run(counter):
    return await counter

async def main():
    for cold in (True, False):
        at, done = 0, False
        while not done:
            at += 1
            if cold:
                berlin._token = None
                await berlin.aclose()
            counter = CancelAt(answer(), at)
            try:
                assert await asyncio.create_task(run(counter)) == "Hello, world"
                assert counter.awaits < at, "a cancellation was swallowed"
                done = True
            except asyncio.CancelledError:
                assert counter.awaits >= at
            assert await answer() == "Hello, world"
        print("cold" if cold else "warm", at - 1 >= 2)  # at least: the head, a piece
    async with asyncio.timeout(20):
        while asyncio.all_tasks() != {asyncio.current_task()}:
            await asyncio.sleep(0.01)
    await berlin.aclose()
    gc.collect()

asyncio.run(main())
"""


async def test_C06_cancelled_at_every_await_in_turn() -> None:
    """Wherever a request is cancelled, the cancellation comes out and the next request works."""
    async with ChatService((0.01, "Hello", 0.01, ", ", 0.01, "world")) as service:
        program = await service.run(CANCELLED_EVERYWHERE)
        assert (program.out, program.err, program.code) == ("cold True\nwarm True\n", "", 0)
        await service.all_closed()


async def test_C07_asyncio_timeout_around_the_loop() -> None:
    """A time limit of the caller's ends the answer with the caller's TimeoutError."""
    async with ChatService(ENDLESS) as service, client(service) as berlin:
        got: list[str] = []
        async with no_new_tasks():
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(None) as limit, aclosing(berlin.text("hello")) as pieces:
                    async for piece in pieces:
                        got.append(piece)
                        if piece == "two":
                            limit.reschedule(asyncio.get_running_loop().time() + 0.05)
            assert not isinstance(caught.value, errors.BerlinError)
            assert got == ["one", "two"]
            await service.all_closed()


async def test_C12_aclose_twice() -> None:
    """Closing an answer again, before or after its end, is no error."""
    async with ChatService(ENDLESS) as service, client(service) as berlin:
        pieces = berlin.text("hello")
        assert await anext(pieces) == "one"
        await pieces.aclose()
        await pieces.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
        never_begun = berlin.text("hello")
        await never_begun.aclose()
        await never_begun.aclose()
        await service.all_closed()
        await berlin.aclose()
        await berlin.aclose()


async def test_C12_athrow_comes_out_and_closes() -> None:
    """An error thrown into an answer comes out unchanged, and the connection is closed."""
    async with ChatService(ENDLESS) as service, client(service) as berlin:
        pieces = berlin.text("hello")
        assert await anext(pieces) == "one"
        with pytest.raises(LookupError, match=r"^thrown in$"):
            await pieces.athrow(LookupError("thrown in"))
        await service.all_closed()


async def test_C12_asend_is_the_same_as_the_next_piece() -> None:
    """What is sent into an answer changes nothing."""
    async with ChatService() as service, client(service) as berlin:
        pieces = berlin.text("hello")
        assert await anext(pieces) == "Hello"
        assert await pieces.asend("ignored") == ", "
        assert [piece async for piece in pieces] == ["world"]


async def test_C13_two_tasks_cannot_iterate_one_generator() -> None:
    """The second task gets Python's own RuntimeError; the first one's answer stays whole."""
    go_on = asyncio.Event()
    async with ChatService(("one", go_on, "two")) as service, client(service) as berlin:
        pieces: AsyncGenerator[str] = berlin.text("hello")
        assert await anext(pieces) == "one"
        first = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError, match="asynchronous generator is already running") as bad:
            await anext(pieces)
        assert not isinstance(bad.value, errors.BerlinError)
        go_on.set()
        assert await first == "two"
        assert [piece async for piece in pieces] == []


async def test_C30_cancelled_in_the_pause_before_a_retry() -> None:
    """A request that waits before its next attempt ends at once when it is cancelled."""
    async with ChatService() as service, client(service) as berlin:
        service.chat_answers.append(Answer(503, "later", {"Retry-After": "20"}))
        async with no_new_tasks():
            asking = asyncio.ensure_future(berlin.ask("hello"))
            await service.seen(chats=1)
            await asyncio.sleep(0.1)
            assert not asking.done()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        assert len(service.chats) == 1
        assert (await berlin.ask("again")).text == service.text
