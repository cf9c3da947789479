"""`berlin login`, `logout`, `providers` and `check`: what is stored, and what is told of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from support.chat_service import Answer, ChatService
from support.cli import Cli, Ended

PASSWORD = "correct horse 42"


async def log_in(cli: Cli, url: str, password: str = PASSWORD, *more: str) -> Ended:
    """Log in as alice with the password on standard input."""
    return await cli.run(
        *("login", "--url", url, "--account", "alice", "--password-stdin", *more),
        stdin=f"{password}\n",
    )


def service_of_alice() -> ChatService:
    """Return a service that knows alice and nobody else."""
    return ChatService(accounts={"alice": PASSWORD})


async def test_login_is_tried_and_stored(tmp_path: Path) -> None:
    """A login is tried at the service, stored for its owner only, and then used by `chat`."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        ended = await log_in(cli, service.url)
        stored = cli.data / "logins.json"
        assert (ended.code, ended.err) == (0, "")
        assert ended.out == f"Logged in to {service.url} as alice; stored in {stored}.\n"
        assert service.login_count == {"alice": 1}
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        assert stat.S_IMODE(stored.parent.stat().st_mode) == 0o700
        ended = await cli.run("chat", "Hi")
        assert (ended.code, ended.out) == (0, "Hello, world\n")
        assert service.login_count == {"alice": 2}


async def test_wrong_password_stores_nothing(tmp_path: Path) -> None:
    """A password that the service refuses is not stored, and an earlier login stays."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        ended = await log_in(cli, service.url, "a wrong one")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith("berlin: the service refuses account 'alice': ")
        assert "a wrong one" not in ended.err
        assert not (cli.data / "logins.json").exists()
        assert (await log_in(cli, service.url)).code == 0
        assert (await log_in(cli, service.url, "a wrong one")).code == 3
        stored = json.loads((cli.data / "logins.json").read_bytes())
    assert stored["berlin"]["values"]["password"] == PASSWORD


async def test_stored_login_stays_with_its_url(tmp_path: Path) -> None:
    """A login stored for one URL is never sent to another that is named later (X06)."""
    cli = Cli(tmp_path)
    async with service_of_alice() as first, service_of_alice() as second:
        assert (await log_in(cli, first.url)).code == 0
        ended = await cli.run("chat", "Hi", BERLIN_URL=second.url)
        assert second.opened == 0
    assert (ended.code, ended.out) == (2, "")
    assert "`berlin login`" in ended.err


async def test_login_of_a_named_provider(tmp_path: Path) -> None:
    """Each provider has a login of its own, used with the URL of the file."""
    async with service_of_alice() as service:
        cli = Cli(tmp_path).configure(
            f'default = "work"\n[providers.work]\nurl = "{service.url}"\n[providers.home]\n'
        )
        ended = await cli.run(
            *("login", "work", "--account", "alice", "--password-stdin"), stdin=PASSWORD
        )
        assert ended.code == 0
        assert list(json.loads((cli.data / "logins.json").read_bytes())) == ["work"]
        assert (await cli.run("chat", "Hi")).out == "Hello, world\n"


@pytest.mark.parametrize(
    ("args", "stdin", "said"),
    [
        (("--account", "a", "--password-stdin"), "", "standard input has no line for the password"),
        (
            ("--account", "a", "--password-stdin"),
            "\n",
            "standard input has no line for the password",
        ),
        (("--password-stdin",), "pw\n", "account: there is no terminal to ask on"),
        (("--account", "a"), "pw\n", "password: there is no terminal to ask on"),
        (("--account", "a", "--password", "pw"), "", "No such option '--password'"),
    ],
)
async def test_login_usage_errors(
    tmp_path: Path, args: tuple[str, ...], stdin: str, said: str
) -> None:
    """Without a terminal, account and password have to be given in a way that nobody sees."""
    async with service_of_alice() as service:
        cli = Cli(tmp_path)
        ended = await cli.run("login", "--url", service.url, *args, stdin=stdin)
        assert service.opened == 0
        assert not cli.data.exists()
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


async def test_login_over_plain_http_to_another_machine(tmp_path: Path) -> None:
    """Plain http to another machine is refused before anything is sent (X21)."""
    ended = await log_in(Cli(tmp_path), "http://192.0.2.1")
    assert (ended.code, ended.out) == (2, "")
    assert "http://192.0.2.1 is plain http" in ended.err


async def test_login_asks_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal account and password are asked for; the password is not shown."""
    cli = Cli(tmp_path)
    async with (
        service_of_alice() as service,
        cli.terminal("login", "--url", service.url) as terminal,
    ):
        await terminal.fills("Account: ", "alice")
        await terminal.fills("Password: ", PASSWORD)
        await terminal.sees("Logged in to")
        assert await terminal.ends() == 0
        assert PASSWORD not in terminal.text
    assert (cli.data / "logins.json").exists()


async def test_ctrl_c_at_a_question_stores_nothing(tmp_path: Path) -> None:
    """Ctrl-C at the password ends with exit code 130 and without a traceback."""
    cli = Cli(tmp_path)
    async with (
        service_of_alice() as service,
        cli.terminal("login", "--url", service.url, "--account", "alice") as terminal,
    ):
        await terminal.sees("Password: ")
        terminal.types("\x03")
        assert await terminal.ends() == 130
        assert "Traceback" not in terminal.text
        assert service.opened == 0
    assert not cli.data.exists()


async def test_logout_forgets(tmp_path: Path) -> None:
    """A logout takes the password off the disk; another one says that there was nothing."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        await log_in(cli, service.url)
    ended = await cli.run("logout")
    assert (ended.code, ended.out) == (0, "Deleted the login of berlin.\n")
    assert PASSWORD not in (cli.data / "logins.json").read_text()
    ended = await cli.run("logout")
    assert (ended.code, ended.out) == (0, "There is no stored login of berlin.\n")


async def test_logins_open_to_others_are_refused(tmp_path: Path) -> None:
    """A file of logins that others can read is not used, and the error says how to mend it."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        await log_in(cli, service.url)
        (cli.data / "logins.json").chmod(0o644)
        ended = await cli.run("chat", "Hi")
        assert len(service.logins) == 1
    assert (ended.code, ended.out) == (2, "")
    assert f"chmod 600 {cli.data / 'logins.json'}" in ended.err


async def test_providers_tells_what_works(tmp_path: Path) -> None:
    """`providers` tells URL, account, the source of the credentials and whether a login works;
    never a password.
    """
    async with service_of_alice() as service:
        cli = Cli(tmp_path).configure(
            f"""\
            default = "good"
            [providers.good]
            url = "{service.url}"
            account = "alice"
            password = {{ env = "ALICE" }}
            [providers.wrong]
            url = "{service.url}"
            account = "alice"
            password = "not-hers-77"
            [providers.unset]
            url = "{service.url}"
            account = "alice"
            password = {{ env = "NOT_SET" }}
            """
        )
        ended = await cli.run("providers", ALICE=PASSWORD)
        rows = {line[2:].split()[0]: line for line in ended.out.splitlines()}
        assert (ended.code, ended.err) == (0, "")
        assert list(rows) == ["PROVIDER", "good", "guide", "unset", "wrong"]
        assert rows["good"].split() == [
            *("*", "good", service.url, "alice", "configuration", "yes")
        ]
        assert rows["guide"].split() == ["guide", "-", "-", "built", "in", "yes"]
        assert "  no: the service refuses account 'alice': " in rows["wrong"]
        assert "NOT_SET, which is not set" in rows["unset"]
        assert service.login_count == {"alice": 2}
        assert not service.chats
    assert "not-hers-77" not in ended.out
    assert PASSWORD not in ended.out


async def test_providers_without_a_check(tmp_path: Path) -> None:
    """`providers --no-check` connects nowhere."""
    async with service_of_alice() as service:
        cli = Cli(tmp_path).uses(service.url)
        ended = await cli.run("providers", "--no-check")
        assert service.opened == 0
    assert ended.code == 0
    assert ended.out.splitlines()[1].split() == [
        *("*", "berlin", service.url, "account", "environment", "not", "tried")
    ]


async def test_check_asks_one_question(tmp_path: Path) -> None:
    """`check` asks the default provider one question and tells how it went."""
    async with ChatService(["Hello", "!!"]) as service:
        ended = await Cli(tmp_path).uses(service.url).run("check")
        assert [chat.json["prompt"] for chat in service.chats] == ["Hello"]
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("berlin works: first text after ")
    assert ", 2 more characters by " in ended.out


async def test_check_tells_what_is_wrong(tmp_path: Path) -> None:
    """A check that fails ends with the exit code of the error."""
    async with ChatService() as service:
        service.chat_answers.append(Answer(403, {"message": "not for you"}))
        ended = await Cli(tmp_path).uses(service.url).run("check")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "berlin: the service answers 403: not for you\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "there is no default provider: run `berlin add URL`, or name a provider"),
        (("nope",), "no provider 'nope'; there are: berlin, guide."),
    ],
)
async def test_check_of_nothing(tmp_path: Path, args: tuple[str, ...], said: str) -> None:
    """A check without a provider, or of one that is not there, says what to do."""
    ended = await Cli(tmp_path).run("check", *args)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


async def test_providers_asks_the_service_now(tmp_path: Path) -> None:
    """A token from before says nothing about a service that is down now."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        assert (await log_in(cli, service.url)).code == 0
        assert (await cli.run("chat", "Hi")).code == 0
    ended = await cli.run("providers")
    assert "no: no connection to " in ended.out.splitlines()[1]


async def test_logout_forgets_the_tokens(tmp_path: Path) -> None:
    """After `logout` neither the password nor a token of the provider is stored."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        assert (await log_in(cli, service.url)).code == 0
        assert (await cli.run("chat", "Hi")).code == 0
        assert service.url in (await cli.run("tokens")).out
        assert (await cli.run("logout")).out == "Deleted the login of berlin.\n"
        assert service.url not in (await cli.run("tokens")).out


async def test_login_completes_the_account_of_the_environment(tmp_path: Path) -> None:
    """Who has set only the account logs in with the password alone, and that is then used."""
    cli = Cli(tmp_path)
    async with service_of_alice() as service:
        both = {"BERLIN_ACCOUNT": "alice", "BERLIN_URL": service.url}
        words = ("login", "--password-stdin")
        assert (await cli.run(*words, stdin=f"{PASSWORD}\n", **both)).code == 0
        assert (await cli.run("chat", "Hi", **both)).code == 0
