"""Prompts for the credentials of a login, or reads them from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click

from berlin.auth.flows.login import LoginMap
from berlin.auth.guidance import IN_WORDS
from berlin.recipes.recipe import Recipe

_VISIBLE = ("account", "client_id")


def ask_for(
    needs: tuple[str, ...],
    account: str | None,
    from_stdin: bool,
    recipe: Recipe,
    before: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the required credentials, by name; secrets are typed without echo.

    Args:
        needs: the names.
        account: the account, if it was given.
        from_stdin: whether secrets are lines of standard input.
        recipe: the recipe of the service, for the words of the questions.
        before: what was typed before, and refused.

    Raises:
        click.UsageError: if there is no terminal to ask on.
    """
    values: dict[str, str] = {}
    account = account or os.environ.get("BERLIN_ACCOUNT")
    for name in needs:
        words = IN_WORDS.get(name, name)
        if name == "account" and account:
            values[name] = account
        elif name not in _VISIBLE and from_stdin:
            values[name] = _read_line(words)
        elif sys.stdin is None or not sys.stdin.isatty():
            ways = _ways_without_terminal(needs, recipe)
            raise click.UsageError(f"{words}: there is no terminal to ask on; use {ways}")
        else:
            label = words[0].upper() + words[1:] + (_called(recipe) if name == "account" else "")
            default = (before or {}).get(name) if name in _VISIBLE else None
            hidden = name not in _VISIBLE
            values[name] = click.prompt(label, default=default, hide_input=hidden, err=True)
    return values


def _called(recipe: Recipe) -> str:
    """Return what the service itself calls an account, such as ` (email)`; `""` if unknown."""
    steps = recipe.auth.steps if isinstance(recipe.auth, LoginMap) else []
    bodies = [body for step in steps for body in (step.json, step.form) if body]
    names = [name for body in bodies for name, value in body.items() if value == "{account}"]
    return f" ({names[0]})" if names and names[0] != "account" else ""


def _ways_without_terminal(needs: tuple[str, ...], recipe: Recipe) -> str:
    variable = recipe.environment.get("api_key", "")
    if needs == ("api_key",):
        return "--password-stdin" + (f", or set {variable}" if variable else "")
    return "--account and --password-stdin"


def _read_line(words: str) -> str:
    line = sys.stdin.readline().rstrip("\r\n") if sys.stdin else ""
    if not line:
        raise click.UsageError(f"standard input has no line for the {words}")
    return line
