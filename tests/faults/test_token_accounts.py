"""Tokens, third part: whose they are, and where they work (T18 to T22, T33 to T35)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from berlin import Berlin, errors
from support.chat_service import PATIENT, ChatService, Request, client

TWO = {"alice": "secret of alice", "bob": "secret of bob"}


async def whole(prompt: str, **options: object) -> str:
    """Return the class's own answer, for the account that is configured now."""
    messages = [{"role": "user", "content": prompt}]
    return "".join(
        [piece async for piece in Berlin.create_async_generator("", messages, **options)]
    )


async def test_T18_credentials_changed_in_the_process_count_from_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the environment names another account, the next call logs in as that one."""
    async with ChatService(accounts=TWO) as service:
        monkeypatch.setenv("BERLIN_URL", service.url)
        for account in ("alice", "bob", "alice"):
            monkeypatch.setenv("BERLIN_ACCOUNT", account)
            monkeypatch.setenv("BERLIN_PASSWORD", TWO[account])
            assert await whole(f"I am {account}") == service.text
        assert service.violations == []
        assert service.login_count == {"alice": 1, "bob": 1}


async def test_T18_a_new_password_is_used_from_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a refusal, the corrected password is tried at once: the refusal was another's."""
    async with ChatService(accounts=TWO) as service:
        monkeypatch.setenv("BERLIN_URL", service.url)
        monkeypatch.setenv("BERLIN_ACCOUNT", "alice")
        monkeypatch.setenv("BERLIN_PASSWORD", "mistyped")
        with pytest.raises(errors.AuthenticationError):
            await whole("I am alice")
        monkeypatch.setenv("BERLIN_PASSWORD", TWO["alice"])
        assert await whole("I am alice") == service.text
        assert [login.json["password"] for login in service.logins] == ["mistyped", TWO["alice"]]


async def test_T19_the_tokens_of_two_accounts_never_cross() -> None:
    """Two accounts that ask at once, also by the class itself, each use their own token."""
    async with ChatService(accounts=TWO) as service:
        alice, bob = (client(service, *login) for login in TWO.items())
        async with alice, bob:
            answers = await asyncio.gather(
                *(alice.ask("I am alice") for _ in range(50)),
                *(bob.ask("I am bob") for _ in range(50)),
            )
            given = {"url": service.url, "timeout": PATIENT}
            by_class = await asyncio.gather(
                *(whole(f"I am {a}", account=a, password=p, **given) for a, p in TWO.items())
            )
        assert [answer.text for answer in answers] == [service.text] * 100
        assert by_class == [service.text] * 2
        assert service.violations == []
        assert service.login_count == {"alice": 1, "bob": 1}


async def test_T20_a_token_is_never_sent_to_another_base_url() -> None:
    """The same account at two services has two tokens, and each goes to its own service only."""
    async with ChatService() as one, ChatService() as other:
        async with client(one) as at_one, client(other) as at_other:
            await asyncio.gather(*(b.ask("hello") for b in (at_one, at_other) for _ in range(20)))
        for service in (one, other):
            assert service.violations == []
            assert len(service.logins) == 1
            assert len(service.chats) == 20


async def test_T20_the_same_host_under_another_path_is_another_service() -> None:
    """A base URL that differs only in its path has a token of its own."""
    async with ChatService() as service:
        async with client(service) as berlin:
            await berlin.ask("hello")
        elsewhere = Berlin(f"{service.url}/v2", "account", "password", timeout=PATIENT)
        async with elsewhere:
            assert elsewhere._token is None
            with pytest.raises(errors.RequestRejectedError):  # there is nothing
                await elsewhere.ask("hello")
        assert len(service.chats) == 1


async def test_T21_a_wrong_password_in_a_loop_does_not_lock_the_account() -> None:
    """Twenty calls with a wrong password are one login; the rest are told from memory."""
    async with ChatService() as service, client(service, "account", "mistyped") as berlin:
        said: list[str] = []
        for _ in range(20):
            with pytest.raises(errors.AuthenticationError) as caught:
                await berlin.ask("hello")
            said.append(str(caught.value))
        assert len(service.logins) == 1
        first, *later = said
        assert first == "the service refuses account 'account': the login is not known"
        assert set(later) == {
            f"{first} (remembered, so that the account is not locked; "
            "tried again in 5 s, or immediately with other credentials)"
        }
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 5


FORK = """
import asyncio, os, sys
from berlin import Berlin

berlin = Berlin()

async def talk(who):
    answers = await asyncio.gather(*(berlin.ask(who) for _ in range(5)))
    assert {a.text for a in answers} == {"Hello, world"}, answers

def in_child(work):
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return child

loop = asyncio.new_event_loop()
loop.run_until_complete(talk("parent before"))
child = in_child(lambda: asyncio.run(talk("child")))
loop.run_until_complete(talk("parent after"))
_, status = os.waitpid(child, 0)
assert status == 0, status
loop.run_until_complete(talk("parent at last"))
loop.run_until_complete(berlin.aclose())
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
print("both")
"""

FORK_WITH_A_THREAD = """
import os, sys, warnings
from berlin import Berlin

warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
berlin = Berlin()
assert berlin.ask_sync("parent before").text == "Hello, world"
child = os.fork()
if not child:
    code = 1
    try:
        assert berlin.ask_sync("child").text == "Hello, world"
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)
assert berlin.ask_sync("parent after").text == "Hello, world"
_, status = os.waitpid(child, 0)
assert status == 0, status
assert berlin.ask_sync("parent at last").text == "Hello, world"
print("both")
"""


async def test_T22_both_processes_work_after_a_fork() -> None:
    """After a login and a fork both go on: the token is kept, no connection is shared."""
    async with ChatService() as service:
        program = await service.run(FORK)
        assert (program.out, program.err, program.code) == ("both\n", "", 0)
        assert len(service.logins) == 1
        prompts = [chat.json["prompt"] for chat in service.chats]
        assert {prompt: prompts.count(prompt) for prompt in prompts} == {
            "parent before": 5,
            "child": 5,
            "parent after": 5,
            "parent at last": 5,
        }
        by_child = {c.connection for c in service.chats if c.json["prompt"] == "child"}
        by_parent = {c.connection for c in service.chats if c.json["prompt"] != "child"}
        assert not by_child & by_parent


FORK_DURING_A_LOGIN = """
import asyncio, os, sys
from berlin import Berlin

berlin = Berlin()
loop = asyncio.new_event_loop()
asking = loop.create_task(berlin.ask("parent"))
while not os.path.exists(os.environ["HELD"]):  # until the service holds the first login
    loop.run_until_complete(asyncio.sleep(0.01))
assert not asking.done()
child = os.fork()
if not child:
    code = 1
    try:
        async def ask():
            async with asyncio.timeout(30):
                return (await berlin.ask("child")).text
        assert asyncio.run(ask()) == "Hello, world"
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)
_, status = os.waitpid(child, 0)
assert status == 0, status
assert loop.run_until_complete(asking).text == "Hello, world"
loop.run_until_complete(berlin.aclose())
loop.close()
print("both")
"""


async def test_T22_a_fork_during_a_login(tmp_path: Path) -> None:
    """A child that is forked during a login does not wait for the parent's: it logs in itself."""
    async with ChatService() as service:
        child_has_a_token, held = asyncio.Event(), tmp_path / "held"

        async def hold_the_first(_: Request) -> None:
            if len(service.logins) == 1:
                held.touch()
                await child_has_a_token.wait()
            else:
                child_has_a_token.set()

        service.on_login = hold_the_first
        program = await service.run(FORK_DURING_A_LOGIN, environment={"HELD": str(held)})
        assert (program.out, program.err, program.code) == ("both\n", "", 0)
        assert len(service.logins) == 2
        assert {chat.json["prompt"] for chat in service.chats} == {"parent", "child"}
        assert len({chat.token for chat in service.chats}) == 2


async def test_T22_blocking_calls_work_after_a_fork() -> None:
    """The loop of `ask_sync` stays in the parent; the child gets one of its own."""
    async with ChatService() as service:
        program = await service.run(FORK_WITH_A_THREAD)
        assert (program.out, program.err, program.code) == ("both\n", "", 0)
        assert len(service.logins) == 1
        by_child = {c.connection for c in service.chats if c.json["prompt"] == "child"}
        by_parent = {c.connection for c in service.chats if c.json["prompt"] != "child"}
        assert by_child
        assert not by_child & by_parent


@pytest.mark.parametrize(
    "password",
    [
        "\"quotes\" 'both' \\back",
        "line\nline\r\n\ttab",
        "пароль 密码 🔑👩‍🚀",
        "{account}{password}",
        " ",
    ],
)
async def test_T33_a_password_is_sent_exactly_as_it_is(password: str) -> None:
    """Quotes, line ends, emoji and braces in a password reach the service unchanged."""
    account = f"{password} of mine"
    async with ChatService(accounts={account: password}) as service:
        async with client(service, account, password) as berlin:
            assert (await berlin.ask("hello")).text == service.text
        assert service.logins[0].json == {"account": account, "password": password}


@pytest.mark.parametrize(
    ("account", "password", "message"),
    [
        ("", "password", "the account (from arguments) must be text, and not empty"),
        ("account", "", "the password (from arguments) must be text, and not empty"),
        ("", "", "the account (from arguments) must be text, and not empty"),
    ],
)
async def test_T34_an_empty_account_or_password_is_found_before_any_network_use(
    account: str, password: str, message: str
) -> None:
    """Empty credentials are a configuration error, by the object and by the class."""
    async with ChatService() as service:
        with pytest.raises(errors.ConfigurationError) as caught:
            Berlin(service.url, account, password)
        assert str(caught.value) == message
        with pytest.raises(errors.ConfigurationError) as caught:
            await whole("hello", url=service.url, account=account, password=password)
        assert str(caught.value) == message
        assert service.opened == 0


async def test_T34_empty_variables_are_found_before_any_network_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that is set but empty counts as not set: half of the credentials is an error."""
    async with ChatService() as service:
        monkeypatch.setenv("BERLIN_URL", service.url)
        monkeypatch.setenv("BERLIN_ACCOUNT", "")
        monkeypatch.setenv("BERLIN_PASSWORD", "password")
        with pytest.raises(errors.ConfigurationError) as caught:
            await whole("hello")
        assert str(caught.value).startswith("password without account in the environment: ")
        assert service.opened == 0


async def test_T34_missing_credentials_name_the_ways_to_give_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without credentials the error names every way to give them; nothing is sent."""
    async with ChatService() as service:
        monkeypatch.setenv("BERLIN_URL", service.url)
        with pytest.raises(errors.MissingCredentialsError) as caught:
            await whole("hello")
        ways = ("account=…, password=…", "BERLIN_ACCOUNT, BERLIN_PASSWORD")
        for way in (*ways, "configuration file", "`berlin login`"):
            assert way in str(caught.value)
        assert service.opened == 0


ONE_OBJECT_MANY_LOOPS = """
import asyncio
from berlin import Berlin

berlin = Berlin()
messages = [{"role": "user", "content": "hello"}]

async def main():
    assert (await berlin.ask("hello")).text == "Hello, world"
    pieces = [piece async for piece in Berlin.create_async_generator("", messages)]
    assert pieces == ["Hello", ", ", "world"], pieces

for _ in range(3):
    asyncio.run(main())
print("thrice")
"""


async def test_T35_a_token_outlives_the_loop_that_got_it() -> None:
    """After its loop is closed, a second and third `asyncio.run` use the same object and token."""
    async with ChatService() as service:
        program = await service.run(ONE_OBJECT_MANY_LOOPS)
        assert (program.out, program.err, program.code) == ("thrice\n", "", 0)
        assert len(service.logins) == 1
        assert len(service.chats) == 6
