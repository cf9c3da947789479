"""Prompts for the credentials of a login, or reads them from standard input."""

from __future__ import annotations

import os
import sys

import click

_VISIBLE = ("account", "client_id")


def ask_for(needs: tuple[str, ...], account: str | None, from_stdin: bool) -> dict[str, str]:
    """Return the required credentials, by name; secrets are typed without echo.

    Args:
        needs: the names.
        account: the account, if it was given.
        from_stdin: whether secrets are lines of standard input.

    Raises:
        click.UsageError: if there is no terminal to ask on.
    """
    values: dict[str, str] = {}
    for name in needs:
        label = name.replace("_", " ").capitalize()
        if name == "account" and (account or os.environ.get("BERLIN_ACCOUNT")):
            values[name] = account or os.environ["BERLIN_ACCOUNT"]
        elif name not in _VISIBLE and from_stdin:
            values[name] = _read_line(label)
        else:
            values[name] = _ask(label, hidden=name not in _VISIBLE)
    return values


def _ask(what: str, *, hidden: bool) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(
            f"{what.lower()}: there is no terminal to ask on; use --account and --password-stdin"
        )
    answer: str = click.prompt(what, hide_input=hidden, err=True)
    return answer


def _read_line(what: str) -> str:
    line = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    if not line:
        raise click.UsageError(f"standard input has no line for the {what.lower()}")
    return line
