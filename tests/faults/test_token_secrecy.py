"""Tokens, last part: nothing that a program can print tells a secret (T32)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from berlin import Berlin, Timeouts, errors
from support.chat_service import HANG, Answer, ChatService, Request

PASSWORD = "word-that-nobody-may-see"
PROXY_PASSWORD = "proxy-word-that-nobody-may-see"
QUICK = Timeouts(connect=2, first_event=2, idle=2, total=6)


def everything(error: BaseException) -> Iterator[str]:
    """Give all that a crash reporter could show of an error, with its causes and contexts."""
    todo, done = [error], set()
    while todo:
        current = todo.pop()
        if id(current) in done:
            continue
        done.add(id(current))
        todo += [e for e in (current.__cause__, current.__context__) if e is not None]
        yield from (repr(current), str(current), repr(current.args), repr(vars(current)))
        shown = traceback.TracebackException.from_exception(current, capture_locals=True)
        yield "".join(shown.format())


async def failure_of(berlin: Berlin) -> errors.BerlinError:
    """Return the error of a request; no variable here holds a secret."""
    try:
        await berlin.ask("hello")
    except errors.BerlinError as error:
        return error
    raise AssertionError("the request succeeded")


def hidden(text: str, service: ChatService) -> bool:
    return not any(secret in text for secret in (PASSWORD, PROXY_PASSWORD, *service.tokens))


@contextlib.asynccontextmanager
async def dead_port() -> AsyncIterator[int]:
    """Give a port that refuses connections, and that nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def login_refused_with_an_echo(service: ChatService) -> None:
    async def echo(request: Request) -> Answer:
        return Answer(401, {"message": f"no: {request.body.decode()}"})

    service.on_login = echo


async def login_answered_with_an_echo(service: ChatService) -> None:
    async def echo(request: Request) -> Answer:
        return Answer(200, f"<p>{request.body.decode()}</p>")

    service.on_login = echo


async def login_hangs(service: ChatService) -> None:
    async def hang(_: Request) -> None:
        await asyncio.Event().wait()

    service.on_login = hang


async def token_refused_with_an_echo(service: ChatService) -> None:
    async def echo(request: Request) -> Answer:
        return Answer(401, {"message": f"not good: {request.token}"})

    service.on_chat = echo


async def chat_fails_with_an_echo(service: ChatService) -> None:
    async def echo(request: Request) -> Answer:
        return Answer(422, {"message": f"sent: {dict(request.headers)}"})

    service.on_chat = echo


async def line_tells_the_token(service: ChatService) -> None:
    service.pieces = lambda request: ["Hel", f"bad line {request.token}\n".encode()]


async def answer_stalls(service: ChatService) -> None:
    service.pieces = ["Hel", HANG]


async def answer_is_cut_off(service: ChatService) -> None:
    service.pieces = ["Hel", ConnectionResetError]


FAILURES: list[tuple[Callable[[ChatService], Awaitable[None]], type[errors.BerlinError]]] = [
    (login_refused_with_an_echo, errors.AuthenticationError),
    (login_answered_with_an_echo, errors.ProtocolError),
    (login_hangs, errors.UpstreamTimeoutError),
    (token_refused_with_an_echo, errors.AuthenticationError),
    (chat_fails_with_an_echo, errors.RequestRejectedError),
    (line_tells_the_token, errors.ProtocolError),
    (answer_stalls, errors.UpstreamTimeoutError),
    (answer_is_cut_off, errors.ConnectionLostError),
]


@pytest.mark.parametrize(("prepare", "kind"), FAILURES, ids=lambda p: getattr(p, "__name__", ""))
async def test_T32_no_failure_tells_a_secret(
    prepare: Callable[[ChatService], Awaitable[None]],
    kind: type[errors.BerlinError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors, their causes, the locals of their frames and the log hold no password or token."""
    caplog.set_level(logging.DEBUG)
    async with ChatService(accounts={"account": PASSWORD}) as service:
        await prepare(service)
        async with Berlin(service.url, "account", PASSWORD, timeout=QUICK) as berlin:
            error = await failure_of(berlin)
            assert type(error) is kind
            leaks = [text for text in everything(error) if not hidden(text, service)]
            assert leaks == []
            logged = [f"{record.__dict__}" for record in caplog.records]
            assert [text for text in logged if not hidden(text, service)] == []


async def test_T32_an_unreachable_proxy_does_not_tell_its_password() -> None:
    """An error about the proxy shows its host, and nothing of its account and password."""
    async with dead_port() as port, ChatService(accounts={"account": PASSWORD}) as service:
        proxy = f"http://someone:{PROXY_PASSWORD}@127.0.0.1:{port}"
        async with Berlin(service.url, "account", PASSWORD, proxy=proxy, timeout=QUICK) as berlin:
            error = await failure_of(berlin)
            assert type(error) is errors.ProxyError
            assert f"the proxy http://***@127.0.0.1:{port} cannot be reached" in str(error)
            assert [text for text in everything(error) if not hidden(text, service)] == []
            assert service.opened == 0


async def test_T32_no_wrong_url_tells_a_password() -> None:
    """A URL or proxy that is refused is shown without the account and password in it."""
    for url, proxy in (
        (f"https://someone:{PROXY_PASSWORD}@example.org", None),
        ("https://example.org", f"gopher://someone:{PROXY_PASSWORD}@example.org"),
    ):
        with pytest.raises(errors.ConfigurationError) as caught:
            Berlin(url, "account", PASSWORD, proxy=proxy)
        assert PROXY_PASSWORD not in repr(caught.value)
        assert PASSWORD not in repr(caught.value)


def printed(value: object, depth: int = 8, seen: set[int] | None = None) -> Iterator[str]:
    """Give the representations of a value and of all that can be reached through it."""
    seen = set() if seen is None else seen
    if depth == 0 or id(value) in seen:
        return
    seen.add(id(value))
    yield repr(value)
    yield str(value)
    inside = list(getattr(value, "__dict__", {}).values())
    inside += [getattr(value, f) for f in getattr(value, "__struct_fields__", ())]
    if isinstance(value, dict):
        inside += [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside += value
    for part in inside:
        if type(part).__module__.partition(".")[0] in ("berlin", "builtins"):
            yield from printed(part, depth - 1, seen)


async def test_T32_a_provider_does_not_show_its_secrets() -> None:
    """`repr`, `str` and `vars` of a provider with a token, all the way down, tell no secret."""
    async with ChatService(accounts={"account": PASSWORD}) as service:
        proxy = f"http://someone:{PROXY_PASSWORD}@127.0.0.1:9"
        hidden_in = Berlin(service.url, "account", PASSWORD, proxy=proxy)
        async with Berlin(service.url, "account", PASSWORD, timeout=QUICK) as berlin:
            await berlin.ask("hello")
            assert berlin._token in service.tokens
            assert repr(berlin) == f"Berlin({service.url!r})"
            for provider in (berlin, hidden_in):
                assert [text for text in printed(provider) if not hidden(text, service)] == []
            assert "***" in "".join(printed(hidden_in))  # the walk did come to a secret
