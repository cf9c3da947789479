"""The command group, and the handling of exit codes and errors."""

from __future__ import annotations

import errno
import os
import sys

import click

import berlin
from berlin.cli.lazy import LazyGroup
from berlin.errors import BerlinError

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_NOT_WRITTEN = 6
EXIT_NO_RESOURCES = 2  # a limit of the system is set too low

# Errors of a full or broken disk. Any other OSError is a bug in Berlin.
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)

# Module, command and one line of help.
COMMANDS = {
    "chat": ("chat.command", "chat", "Ask a question, or hold a conversation."),
    "add": ("provider.add", "add", "Add a service by its URL or recipe."),
    "remove": ("provider.add", "remove", "Remove a service and its login."),
    "logs": ("chat.logs", "logs", "List and search stored conversations."),
    "login": ("provider.login", "login", "Log in to a service and store the login."),
    "logout": ("provider.login", "logout", "Delete a stored login."),
    "providers": ("provider.listing", "providers", "List the providers and whether they work."),
    "check": ("provider.listing", "check", "Ask a provider one short question."),
    "models": ("provider.models", "models", "List the available models."),
    "token": ("provider.token", "token", "Print a valid token for another program."),
    "exec": ("provider.token", "exec_", "Run a program with a token in a variable."),
    "tokens": ("tokens", "tokens", "List or clear the stored tokens."),
    "recipe": ("recipe.group", "recipe", "Write, check and try recipes."),
    "serve": ("gateway.serve", "serve", "Serve providers to other programs."),
    "top": ("gateway.top.command", "top", "Watch a running gateway."),
    "config": ("config", "config", "Check the configuration."),
    "completion": ("completion", "completion", "Print a completion script for a shell."),
    "account": ("gateway.account", "account", "Manage the accounts of `berlin serve`."),
    "usage": ("ledger.usage", "usage", "Show what was used and what it cost."),
    "ledger": ("ledger.usage", "ledger", "Manage the ledger of `berlin serve`."),
    "key": ("gateway.key", "key", "Manage the API keys of `berlin serve`."),
}

EPILOG = """\b
Exit codes:
  0  success                  4  network: unreachable, lost, or too slow
  1  a bug in Berlin          5  service: an error or an invalid response
  2  usage or configuration   130  interrupted with Ctrl-C
  3  credentials refused      141  broken pipe: nobody reads the output
  6  output or file cannot    143  stopped by SIGTERM
     be written (disk full)"""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(berlin.__version__, "-V", "--version", message="berlin %(version)s")
def cli() -> None:
    """Turn any chat service, even one behind a login, into a streaming LLM.

    Without any set-up, `berlin chat` asks the built-in guide.
    """


def run(args: list[str] | None = None) -> int:
    """Run a command and return its exit code; every error is one line on stderr."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # closed by the parent process: output is discarded
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark; nothing crashes.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        code = _invoke(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        _drop_output()
        _complain(f"berlin: {error.filename or 'the output'} cannot be written: {error.strerror}")
        return EXIT_NOT_WRITTEN
    return code


def _invoke(args: list[str] | None) -> int:
    try:
        if "_BERLIN_COMPLETE" in os.environ:
            cli.main(args, prog_name="berlin")
        # Not `cli.main`: it turns a broken pipe into exit code 1 itself.
        with cli.make_context("berlin", sys.argv[1:] if args is None else args) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        try:
            error.show()
        except OSError:  # a closed or full stderr changes no exit code
            _complain("")
        return _code_of(error, error.exit_code)
    except BerlinError as error:
        _complain(f"berlin: {error.message}")
        return _code_of(error, error.exit_code)
    except click.Abort:  # a question that was not answered: its line is still open
        if sys.stderr.isatty():
            _complain("")
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except MemoryError:
        _complain("berlin: there is not enough memory; is it limited (ulimit -v, a container)?")
        return EXIT_NO_RESOURCES
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        _complain("berlin: no thread can be started; are they limited (ulimit -u, ulimit -v)?")
        return EXIT_NO_RESOURCES
    return code if isinstance(code, int) else 0


def _code_of(error: Exception, code: int) -> int:
    from berlin.auth.tokens.private_file import is_disk_full  # only needed for errors

    return EXIT_NOT_WRITTEN if is_disk_full(error) else code


def _complain(line: str) -> None:
    from berlin.cli.terminal import say  # only needed for errors

    say(line)


def _drop_output() -> None:
    # Python flushes once more at exit: discard that.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
