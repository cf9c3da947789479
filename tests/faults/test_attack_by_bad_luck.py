"""What befalls an operator: full disks, closed streams, files of others, pipes, odd names."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import signal
import socket
import stat
import traceback
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from berlin import Berlin, errors
from berlin.auth.tokens.file_store import FileStore
from berlin.auth.tokens.private_file import make_private_file, make_private_folder
from berlin.auth.tokens.store import Sealer, TokenKey
from berlin.cli import main
from berlin.cli.chat.schema import read_schema
from berlin.cli.input_file import read_input
from berlin.cli.recipe.group import recipe
from berlin.config import load_config
from berlin.config.files import doubts
from berlin.config.references import unknown_store
from berlin.config.schema import ResponsesConfig
from berlin.gateway.stored.open import open_stored
from berlin.routing.counters.contract import Claim, Refusal, Sliding
from berlin.routing.counters.memory import MemoryCounters
from support.chat_service import ChatService
from support.cli import BERLIN, Cli
from support.gateway import OPENAI
from support.serving import serving, stopped

CANARY = "CANARY-of-a-password"
COMMANDS = (
    ["chat", "-m", "guide", "What?"],
    ["providers", "--no-check"],
    ["key", "list"],
    ["recipe", "schema"],
    ["--help"],
)
RECIPE = """
schema = 1
name = "c"
description = "a service whose token a program prints"
[endpoint]
url = "http://127.0.0.1:9"
[auth]
flow = "command"
command = ["sh", "-c", "echo token-of-the-program"]
[chat]
path = "/chat"
[chat.json]
prompt = "{prompt}"
[chat.stream]
framing = "ndjson"
text = "/content"
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_output_to_a_full_disk(tmp_path: Path, command: list[str]) -> None:
    """It ends with one line and the exit code 6."""
    ended = await Cli(tmp_path).shell(f"$BERLIN {' '.join(command)} > /dev/full")
    lines = [line for line in ended.err.splitlines() if "built-in guide" not in line]
    assert (ended.code, lines) == (
        6,
        ["berlin: the output cannot be written: No space left on device"],
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
async def test_a_gateway_without_a_stderr(tmp_path: Path, where: str) -> None:
    """A closed or full stderr changes nothing of its start and its stop."""
    cli = Cli(tmp_path).configure("[server]\nallowed_hosts = ['a.example']\n")
    line = f"$BERLIN serve --port 0 {where} & echo $! > {tmp_path}/pid; wait $!"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "s"))
        manager.setblocking(False)
        cli.environ["NOTIFY_SOCKET"] = str(tmp_path / "s")
        running = asyncio.create_task(cli.shell(line))
        async with asyncio.timeout(30):
            assert await asyncio.get_running_loop().sock_recv(manager, 64) == b"READY=1"
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        assert (await running).code == 0


@pytest.mark.parametrize("command", [["chat", "-m", "nope:x", "Hi"], ["serve", "--config", "nope"]])
async def test_an_error_without_a_stderr(tmp_path: Path, command: list[str]) -> None:
    """The exit code is that of the error, also where its line cannot be written."""
    assert (await Cli(tmp_path).shell(f"$BERLIN {' '.join(command)} 2>/dev/full")).code == 2


async def test_a_configuration_that_everybody_can_write(tmp_path: Path) -> None:
    """It says where passwords go: it is refused, in one line that says what to run."""
    cli = Cli(tmp_path).configure("[server]\nport = 0\n")
    cli.config.chmod(0o666)
    for command in (["config", "check"], ["serve"], ["chat", "Hi"]):
        refused = await cli.run(*command)
        assert (refused.code, f"chmod go-w {cli.config}" in refused.err) == (2, True)
    cli.config.chmod(0o600)
    cli.config.parent.chmod(0o777)
    refused = await cli.run("config", "check")
    assert (refused.code, f"chmod go-w {cli.config.parent}" in refused.err) == (2, True)


def share(file: Path) -> None:
    """Let a group write to a file that is not the private one of this user."""
    os.chown(file, -1, 12_345)
    file.chmod(0o660)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another group")
async def test_a_recipe_of_others_runs_no_program(tmp_path: Path) -> None:
    """A recipe that its group can write is warned of; one that names a program is refused."""
    cli = Cli(tmp_path).configure('[providers.c]\nrecipe = "c.toml"\n')
    recipe = cli.config.parent / "c.toml"
    recipe.write_text(RECIPE)
    share(recipe)
    refused = await cli.run("config", "check")
    assert (refused.code, "runs a program, and its group can write to it" in refused.err) == (
        2,
        True,
    )
    recipe.write_text(RECIPE.partition("[auth]")[0] + "[chat]" + RECIPE.partition("[chat]")[2])
    warned = await cli.run("config", "check")
    assert (warned.code, "warning" in warned.err) == (0, True), warned.err


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to another group")
def test_a_configuration_of_others_runs_no_program(tmp_path: Path) -> None:
    """A program for a secret runs as this user: not because somebody else has written so."""
    file = tmp_path / "berlin.toml"
    file.write_text('[providers.berlin]\nurl = "https://a.example"\naccount = "ann"\n')
    share(file)
    assert load_config(file).providers
    with file.open("a") as more:
        more.write('password = { command = ["cat", "secret"] }\n')
    with pytest.raises(errors.ConfigurationError, match="runs a program, and its group can write"):
        load_config(file)
    file.chmod(0o600)
    assert load_config(file).providers


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user(tmp_path: Path) -> None:
    """It is said whose it is."""
    file = tmp_path / "c.toml"
    file.touch(0o600)
    assert doubts(file) == ""
    os.chown(file, 12_345, 12_345)
    assert doubts(file) == "it belongs to another user (id 12345)"


def test_a_pipe_as_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named pipe that nobody writes to is an error, and does not hang."""
    monkeypatch.setattr("berlin.config.files.PIPE_TIMEOUT_S", 0.1)
    os.mkfifo(pipe := tmp_path / "berlin.toml")
    with pytest.raises(errors.ConfigurationError, match="this pipe delivers nothing"):
        load_config(pipe)
    with pytest.raises(errors.ConfigurationError, match="cannot be read"):
        load_config(tmp_path)


async def test_a_configuration_out_of_a_process(tmp_path: Path) -> None:
    """What another program prints is a configuration, through a pipe of the shell."""
    ended = await Cli(tmp_path).shell(
        "cd; mkfifo p; (sleep 0.2; printf '[aliases]\\nfast = \"guide\"\\n') > p & "
        "$BERLIN config check --config p"
    )
    assert (ended.code, "fast: means guide" in ended.out) == (0, True), ended.err


def test_private_files(tmp_path: Path) -> None:
    """One that was open to others is made private; a pipe is refused at once."""
    file = tmp_path / "history"
    file.touch()
    file.chmod(0o644)
    make_private_file(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    os.mkfifo(pipe := tmp_path / "pipe")
    with pytest.raises(OSError):  # ENXIO or ours
        make_private_file(pipe)


async def test_names_do_not_drive_the_terminal(tmp_path: Path) -> None:
    """Escapes in names and in errors are shown as signs."""
    odd = "a\\u001b[31mb"
    cli = Cli(tmp_path).configure(f'[aliases]\n"{odd}" = "guide"\n')
    for command in (["config", "check"], ["config", "check", "--config", "x\x1b[31m.toml"]):
        ended = await cli.run(*command)
        assert "\x1b" not in ended.out + ended.err


async def test_a_gateway_writes_no_core(tmp_path: Path) -> None:
    """A crash leaves no file with the memory of the process."""
    cli = Cli(tmp_path).configure("[server]\nport = 0\n")
    async with serving(cli) as (process, at):
        assert (await at.ask(OPENAI, model="guide")).status == 200
        if (limits := Path(f"/proc/{process.pid}/limits")).exists():
            [core] = [line for line in limits.read_text().splitlines() if "core" in line]
            assert core.split()[4:6] == ["0", "0"]
        await stopped(process)


async def test_a_rate_of_nothing() -> None:
    """A limit of 0, written by hand, lets nothing through and does not crash."""
    refused = await MemoryCounters().reserve("request", [Claim("k", Sliding(60), limit=0)])
    assert isinstance(refused, Refusal)
    assert refused.wait_s == pytest.approx(60)


def frames_of(error: BaseException) -> str:
    """Return what a report with local variables says of an error and its causes."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    # The lines of source are those of this file.
    lines = [line for line in "".join(told.format()).splitlines() if " = " in line]
    return "\n".join(line for line in lines if "given = " not in line)


WRONG = [
    {"url": "http://example.com", "account": "ann", "password": CANARY},
    {"url": "https://e.example", "password": CANARY},
    {"url": "https://e.example", "account": "ann", "password": "x", "proxy": f"x://a:{CANARY}@b"},
    {"url": "https://e.example", "api_key": CANARY, "headers": {"a b": CANARY}},
    {"service": "nope", "api_key": CANARY},
]


@pytest.mark.parametrize("given", WRONG, ids=lambda given: ",".join(given))
def test_no_frame_of_the_constructor_holds_a_secret(given: dict[str, object]) -> None:
    """Neither its arguments nor the half-made object show in a report of its error."""
    with pytest.raises(errors.BerlinError) as caught:
        Berlin(**given)
    assert CANARY not in frames_of(caught.value)
    assert "REPR" not in repr(Berlin.__new__(Berlin))


async def test_no_frame_of_the_class_method_holds_a_secret() -> None:
    """The class-level call shows no password either."""
    with pytest.raises(errors.BerlinError) as caught:
        async for _ in Berlin.create_async_generator(
            "m", "Hi", account="ann", password=CANARY, proxy=f"x://a:{CANARY}@b"
        ):
            pass
    assert CANARY not in frames_of(caught.value)


def test_the_repr_of_a_configuration(tmp_path: Path) -> None:
    """A loaded file shows no secret, neither by `repr` nor in a report of rich."""
    file = tmp_path / "berlin.toml"
    names = ("password", "api_key", "client_secret", "refresh_token", "totp_seed")
    secrets = "\n".join(f'{name} = "{CANARY}"' for name in names)
    file.write_text(
        f'[providers.a]\n{secrets}\nproxy = "http://u:{CANARY}@p.example:1"\n'
        f'[providers.b]\nclass = "x:Y"\noptions = {{ auth_token = "{CANARY}" }}\n'
        f'[tokens]\nstore = "redis://:{CANARY}@r.example"\nkey = "{CANARY}-long-enough"\n'
    )
    file.chmod(0o600)
    config = load_config(file)
    from rich.pretty import pretty_repr

    for shown in (repr(config), pretty_repr(config), repr(config.providers), str(config.tokens)):
        assert CANARY not in shown
    assert config.providers["a"].password == CANARY
    with pytest.raises(TypeError, match="holds secrets"):
        pickle.dumps(config)
    assert copy.deepcopy(config) is config


def test_the_name_of_a_store_may_be_a_secret() -> None:
    """Of a store that does not exist, the error shows a word or a scheme, and no password."""
    for value, shown in (("mongodb://u:CANARY@h", "'mongodb'"), ("flie", "'flie'")):
        assert shown in str(unknown_store("x.store", value, "file"))
    for value in ("CANARY", "canary-0123456789", "u:CANARY@h", CANARY):
        assert "CANARY" not in str(unknown_store("x.store", value, "file")).upper()
    assert CANARY not in repr(ResponsesConfig(store=f"rediss:/u:{CANARY}@h"))


@pytest.mark.parametrize(("mode", "left"), [(0o755, 0o755), (0o775, 0o775), (0o777, 0o700)])
def test_a_folder_that_exists_keeps_its_mode(tmp_path: Path, mode: int, left: int) -> None:
    """A file in `/` or `/var/lib` does not close that folder to all others."""
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == left


def test_a_folder_for_everybody_is_refused_and_kept(tmp_path: Path) -> None:
    """`store = "file:/tmp/…"` as root closed `/tmp` to all users; others could also plant files."""
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    config = ResponsesConfig(store=f"file:{shared}/responses.sqlite")
    with pytest.raises(errors.ConfigurationError, match=f"such as {shared}/berlin"):
        open_stored(config)
    assert stat.S_IMODE(shared.stat().st_mode) == 0o1777
    open_stored(ResponsesConfig(store=f"file:{shared}/berlin/responses.sqlite")).close()


def test_pipes_and_devices_as_input(tmp_path: Path) -> None:
    """No command waits for a pipe that nobody writes to, or reads a device without end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name, why in ((pipe, "no program writes"), (Path("/dev/zero"), "a device")):
        with pytest.raises(click.UsageError, match=why):
            read_schema(name)
        for command in (
            ["replay", str(name)],
            ["new", str(tmp_path / "r.toml"), "--har", str(name)],
        ):
            ended = CliRunner().invoke(recipe, command)
            assert isinstance(ended.exception, errors.ConfigurationError), ended
            assert why in str(ended.exception)
    with pytest.raises(OSError, match="larger than 1 MiB"):
        (tmp_path / "large").write_bytes(b"x" * (2**20 + 1))
        read_input(tmp_path / "large", 2**20)


def test_limits_of_the_system_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither memory nor a thread to be had is no traceback."""
    for error in (MemoryError(), RuntimeError("can't start new thread")):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(main.cli, "invoke", fail)
        assert main.run(["config", "path"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("berlin: ")
        assert said.count("\n") == 1


@pytest.mark.parametrize("mode", [(), ("-X", "dev")], ids=["", "dev"])
async def test_a_generator_left_open_at_the_end_is_quiet(
    tmp_path: Path, mode: tuple[str, ...]
) -> None:
    """An `async with` in a generator that is open when the loop ends writes nothing to stderr."""
    code = """if True:
        import asyncio, sys
        from berlin import Berlin
        async def talk():
            async with Berlin(url=sys.argv[1], account="account", password="password") as berlin:
                async for piece in berlin.text("Hi"):
                    yield piece
        async def main():
            global talking
            talking = talk()
            print(len(await anext(talking)) > 0)
        asyncio.run(main())
    """
    async with ChatService(("a", 30.0, "b")) as service:
        process = await asyncio.create_subprocess_exec(
            *(BERLIN[0], *mode, "-c", code, service.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=Cli(tmp_path).environ,
        )
        out, err = await process.communicate()
    # In development mode asyncio tells what took long.
    said = [line for line in err.splitlines() if not line.startswith(b"Executing ")]
    assert (process.returncode, out, said) == (0, b"True\n", [])


def test_a_stopped_holder_of_a_lock_is_not_waited_for(tmp_path: Path) -> None:
    """A holder that shows no sign of life for some seconds holds nobody up."""
    store = FileStore(tmp_path / "tokens", Sealer(None))
    key = TokenKey("r", "https://e.example", "a", "f")
    held = store.try_lock(key)
    assert held is not None
    assert store.try_lock(key) is None
    [file] = (tmp_path / "tokens").glob("*.lock")
    os.utime(file, (1_000, 1_000))
    without = store.try_lock(key)
    assert without is not None
    store.unlock(without)
    assert store.extend(held)
    assert store.try_lock(key) is None
    store.unlock(held)
    again = store.try_lock(key)
    assert again is not None
    store.unlock(again)
