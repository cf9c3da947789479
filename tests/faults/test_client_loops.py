"""What clients do, second part: loops, threads and descriptors (C08 to C11, C14 to C17, C29)."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from berlin import Berlin, errors
from support.chat_service import HANG, ChatService, client

ENDLESS = ("one", "two", HANG)

OPEN_AT_THE_END = """
import asyncio
from berlin import Berlin

async def main():
    global pieces
    pieces = Berlin.create_async_generator("", [{"role": "user", "content": "hello"}])
    print(await anext(pieces))

asyncio.run(main())
"""


async def test_C08_asyncio_run_ends_with_an_open_answer() -> None:
    """A program that ends in the middle of an answer ends without a word."""
    async with ChatService(ENDLESS) as service:
        program = await service.run(OPEN_AT_THE_END)
        assert (program.out, program.err, program.code) == ("one\n", "", 0)
        await service.all_closed()


TWO_RUNS = """
import asyncio
from berlin import Berlin

async def main():
    messages = [{"role": "user", "content": "hello"}]
    print("".join([piece async for piece in Berlin.create_async_generator("", messages)]))

asyncio.run(main())
asyncio.run(main())
"""


async def test_C09_two_asyncio_runs_in_turn() -> None:
    """A second `asyncio.run` works like the first one, and needs no second login."""
    async with ChatService() as service:
        program = await service.run(TWO_RUNS)
        assert (program.out, program.err, program.code) == ("Hello, world\n" * 2, "", 0)
        assert len(service.logins) == 1


TWO_THREADS = """
import asyncio, threading
from berlin import Berlin

berlin = Berlin()
begin = threading.Barrier(2)
answers = []

async def ask():
    asked = await asyncio.gather(*(berlin.ask("hello") for _ in range(50)))
    await berlin.aclose()
    return [answer.text for answer in asked]

def work():
    begin.wait()
    answers.extend(asyncio.run(ask()))

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(answers), set(answers))
"""


async def test_C10_two_threads_with_a_loop_each_share_one_object() -> None:
    """Two loops in two threads use one object at once, with one login for both."""
    async with ChatService() as service:
        program = await service.run(TWO_THREADS)
        assert (program.out, program.err, program.code) == ("100 {'Hello, world'}\n", "", 0)
        assert len(service.logins) == 1
        assert service.violations == []


BLOCKING = """
import asyncio
from berlin import Berlin

berlin = Berlin()
print(berlin.ask_sync("without a loop").text)

async def main():
    print(berlin.ask_sync("inside a running loop").text)

asyncio.run(main())
"""


async def test_C11_ask_sync_works_with_and_without_a_running_loop() -> None:
    """`ask_sync` answers inside a running loop too, on one connection that it keeps."""
    async with ChatService() as service:
        program = await service.run(BLOCKING)
        assert (program.out, program.err, program.code) == ("Hello, world\n" * 2, "", 0)
        assert len(service.logins) == 1
        assert len({chat.connection for chat in service.chats}) == 1


NESTED = """
from berlin import Berlin
from berlin.errors import InvalidRequestError

berlin = Berlin()

class Prompt(list):
    "Messages that ask a question of their own while they are read."
    def __iter__(self):
        berlin.ask_sync("nested")
        return super().__iter__()

try:
    berlin.ask_sync(Prompt([{"role": "user", "content": "hello"}]))
except InvalidRequestError as error:
    print(error)
print(berlin.ask_sync("afterwards").text)
"""


async def test_C11_ask_sync_inside_ask_sync_is_a_clear_error() -> None:
    """A call that would wait for itself is refused, and the next one works."""
    async with ChatService() as service:
        program = await service.run(NESTED)
        assert (program.out, program.err, program.code) == (
            "a blocking call inside a blocking call would deadlock; use ask or text\n"
            "Hello, world\n",
            "",
            0,
        )


async def test_C14_a_session_of_the_caller_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No session is taken from a caller: it is refused before any network use, and stays open."""
    async with ChatService() as service, aiohttp.ClientSession() as session:
        for name, value in service.environment().items():
            if name.startswith("BERLIN_"):
                monkeypatch.setenv(name, value)
        messages = [{"role": "user", "content": "hello"}]
        with pytest.raises(errors.InvalidRequestError, match=r"^options\.session: not a JSON"):
            await anext(Berlin.create_async_generator("", messages, session=session))
        assert service.opened == 0
        assert not session.closed
        async with session.get(service.url) as answer:
            assert answer.status == 404


async def test_C14_the_own_session_is_closed_with_its_object() -> None:
    """Leaving `async with` closes all connections; the object can be used again."""
    async with ChatService() as service:
        berlin = client(service)
        for _ in range(2):
            async with berlin:
                await asyncio.gather(*(berlin.ask("hello") for _ in range(5)))
                assert service.open > 0
            await service.all_closed()
        assert len(service.logins) == 1


LOOP_CLOSED_IN_MID_STREAM = """
import asyncio
from berlin import Berlin

loop = asyncio.new_event_loop()
pieces = Berlin.create_async_generator("", [{"role": "user", "content": "hello"}])
assert loop.run_until_complete(anext(pieces)) == "one"
loop.close()
"""


async def test_C15_a_loop_that_is_closed_in_mid_stream() -> None:
    """A program that closes its loop under an endless answer exits, and its connection ends."""
    async with ChatService(ENDLESS) as service:
        program = await service.run(LOOP_CLOSED_IN_MID_STREAM, "-X", "dev")
        assert program.code == 0
        await service.all_closed()


MANY_STREAMS = """
import asyncio, os, resource
from berlin import Berlin, Timeouts

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
berlin = Berlin(timeout=Timeouts(connect=60, first_event=60, idle=60, total=80))

def descriptors():
    return len(os.listdir("/proc/self/fd"))

async def main():
    assert (await berlin.ask("0")).text == "answer to 0."
    await berlin.aclose()
    before = descriptors()
    answers = await asyncio.gather(*(berlin.ask(str(n)) for n in range(1000)))
    assert [a.text for a in answers] == [f"answer to {n}." for n in range(1000)]
    during = descriptors()
    await berlin.aclose()
    async with asyncio.timeout(20):
        while descriptors() > before:
            await asyncio.sleep(0.01)
    print(during > before)

asyncio.run(main())
"""


async def test_C16_a_thousand_answers_at_once() -> None:
    """A thousand answers that all run at the same time are exact, and leave no descriptor."""
    all_there = asyncio.Event()

    async with ChatService() as service:

        async def together(_: object) -> None:
            if len(service.chats) == 1001:
                all_there.set()
            if len(service.chats) > 1:
                await all_there.wait()

        service.on_chat = together
        service.pieces = lambda request: ["answer ", "to ", request.json["prompt"], "."]
        program = await service.run(MANY_STREAMS, "-W", "error", within=90)
        assert (program.out, program.err, program.code) == ("True\n", "", 0)
        assert service.opened >= 1000
        assert len(service.logins) == 1


NO_DESCRIPTORS = """
import asyncio, contextlib, os, resource
from berlin import Berlin, errors

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
berlin = Berlin()

async def main():
    assert (await berlin.ask("hello")).text == "Hello, world"
    await berlin.aclose()
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    for _ in range(3):
        try:
            await berlin.ask("hello")
        except errors.BerlinError as error:
            print(type(error).__name__, "Too many open files" in str(error))
    for descriptor in held:
        os.close(descriptor)
    assert (await berlin.ask("hello")).text == "Hello, world"
    await berlin.aclose()
    print("recovered")

asyncio.run(main())
"""


async def test_C17_no_descriptors_left() -> None:
    """With 64 descriptors, all in use, the service is not blamed; later ones work again."""
    async with ChatService() as service:
        program = await service.run(NO_DESCRIPTORS)
        expected = "UnavailableError True\n" * 3 + "recovered\n"
        assert (program.out, program.err, program.code) == (expected, "", 0)
        assert len(service.chats) == 2


ALL_OF_IT = """
import asyncio, gc
from contextlib import aclosing
from berlin import AsyncGeneratorProvider, Berlin, BerlinError, ChatRequest, Finished, Timeouts
from berlin import errors

messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]

def check(truth):  # `assert` would be gone under -O
    if not truth:
        raise SystemExit("wrong")

async def by_class():
    pieces = Berlin.create_async_generator("", messages, temperature=0.5, timeout=10)
    return "".join([piece async for piece in pieces])

async def main():
    check(await by_class() == "Hello, world")
    check(Berlin._token and Berlin.working and Berlin.supports_gpt_35_turbo)
    check(issubclass(Berlin, AsyncGeneratorProvider))
    async with Berlin(timeout=Timeouts(first_event=10)) as berlin:
        await berlin.check()
        answers = await asyncio.gather(*(berlin.ask(messages) for _ in range(20)))
        check({answer.text for answer in answers} == {"Hello, world"})
        events = [event async for event in berlin.stream(ChatRequest.of("hello"))]
        check(events[-1] == Finished("stop"))
        async with aclosing(berlin.text("hello")) as pieces:
            check(await anext(pieces) == "Hello")
        async for piece in berlin.text("hello"):
            break
        try:
            await berlin.ask("hello", temperature=float("nan"))
        except errors.InvalidRequestError as error:
            check(isinstance(error, ValueError))
        berlin._token = "x"
        check((await berlin.ask("hello")).text == "Hello, world")
        check(berlin._token != "x")
        waiting = asyncio.ensure_future(berlin.ask("hello"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    try:
        await Berlin("http://127.0.0.1:1", "account", "password").ask("hello")
    except errors.ConnectError as error:
        check(isinstance(error, RuntimeError))
    gc.collect()

asyncio.run(main())
asyncio.run(main())
check(Berlin().ask_sync("hello").text == "Hello, world")
print("done")
"""


@pytest.mark.parametrize(
    ("flags", "environment"),
    [
        (("-W", "error"), {}),
        (("-X", "dev", "-W", "error"), {}),
        (("-W", "error"), {"PYTHONASYNCIODEBUG": "1"}),
        (("-O", "-W", "error"), {}),
        (("-OO", "-W", "error"), {}),
    ],
    ids=["warnings are errors", "dev", "asyncio debug", "-O", "-OO"],
)
async def test_C29_every_mode_of_python(
    flags: tuple[str, ...], environment: dict[str, str]
) -> None:
    """All of the API works in a strict, a watched and an optimised Python, without a word."""
    async with ChatService() as service:
        program = await service.run(ALL_OF_IT, *flags, environment=environment)
        assert (program.out, program.err, program.code) == ("done\n", "", 0)
        assert [v for v in service.violations if v != "'x' was never issued here"] == []
