"""The group of commands, and how each of them ends."""

from __future__ import annotations

import os
import sys

import click

import berlin
from berlin.cli.lazy import LazyGroup
from berlin.errors import BerlinError

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

# Module, command and one line of help.
COMMANDS = {
    "chat": ("berlin.cli.chat.command", "chat", "Ask a question, or hold a conversation."),
    "add": ("berlin.cli.provider.add", "add", "Add a service by its address or its recipe."),
    "remove": ("berlin.cli.provider.add", "remove", "Remove a service and its login."),
    "logs": ("berlin.cli.chat.logs", "logs", "List and search the conversations that were kept."),
    "login": ("berlin.cli.provider.login", "login", "Log in to a service and remember it."),
    "logout": ("berlin.cli.provider.login", "logout", "Forget a login."),
    "providers": (
        "berlin.cli.provider.listing",
        "providers",
        "List the providers and whether they work.",
    ),
    "check": ("berlin.cli.provider.listing", "check", "Ask a provider one short question."),
    "models": ("berlin.cli.provider.models", "models", "List the models that can be named."),
    "token": ("berlin.cli.provider.token", "token", "Print a valid token for another program."),
    "exec": ("berlin.cli.provider.token", "exec_", "Run a program with a token in a variable."),
    "tokens": ("berlin.cli.tokens", "tokens", "List or clear the stored tokens."),
    "recipe": ("berlin.cli.recipe.group", "recipe", "Write, check and try recipes."),
    "serve": ("berlin.cli.gateway.serve", "serve", "Serve providers to other programs."),
    "config": ("berlin.cli.config", "config", "Check the configuration."),
    "completion": ("berlin.cli.completion", "completion", "Print a completion script for a shell."),
    "account": ("berlin.cli.gateway.account", "account", "Manage the accounts of `berlin serve`."),
    "key": ("berlin.cli.gateway.key", "key", "Manage the API keys of `berlin serve`."),
}

EPILOG = """\b
Exit codes:
  0  done                     4  the network: not reached, broke off, too slow
  1  a bug in Berlin          5  the service: an error, or not a good answer
  2  usage or configuration   130  interrupted with Ctrl-C
  3  credentials refused      141  the reader of the output is gone"""


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(berlin.__version__, "-V", "--version", message="berlin %(version)s")
def cli() -> None:
    """Turn any chat service, most of all one with a login, into a streaming LLM.

    Without any set-up, `berlin chat` asks the built-in guide.
    """


def run(args: list[str] | None = None) -> int:
    """Run a command and return its exit code; every error is told in one line on stderr."""
    if sys.stdout is None:  # closed by whoever started us: what is printed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows a question mark; nothing crashes.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        if "_BERLIN_COMPLETE" in os.environ:
            cli.main(args, prog_name="berlin")
        # Not `cli.main`: it answers a broken pipe by exit code 1 itself.
        with cli.make_context("berlin", sys.argv[1:] if args is None else args) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BerlinError as error:
        click.echo(f"berlin: {error.message}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    return code if isinstance(code, int) else 0
