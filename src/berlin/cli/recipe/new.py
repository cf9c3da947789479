"""`berlin recipe new`: drafts a recipe from what a browser or curl has sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from berlin.cli.paste import ask_for_paste
from berlin.cli.recipe.trial import try_recipe
from berlin.cli.terminal import harmless
from berlin.errors import ConfigurationError
from berlin.workbench.draft.choose import choose_chat, choose_login
from berlin.workbench.draft.sources.captured import Exchange, split_head
from berlin.workbench.draft.sources.curl import parse_curl
from berlin.workbench.draft.sources.har import is_without_secrets, read_har
from berlin.workbench.draft.writer import Draft, write_draft

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


class _Sources(msgspec.Struct, frozen=True):
    """Where the requests and answers are.

    Attributes:
        har: a HAR file with all of them.
        curl: the chat as a curl command.
        answer: its answer.
        login_curl: the login as a curl command.
        login_answer: its answer.
    """

    har: Path | None
    curl: Path | None
    answer: Path | None
    login_curl: Path | None
    login_answer: Path | None


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--har", type=_FILE, help="A HAR file saved from a browser's network tab.")
@click.option("--curl", type=_FILE, help='A chat request, copied "as cURL (bash)".')
@click.option("--answer", type=_FILE, help="The answer to it, unchanged.")
@click.option("--login-curl", type=_FILE, help='The login request, copied "as cURL (bash)".')
@click.option("--login-answer", type=_FILE, help="The answer to it, with headers (curl -i).")
@click.option("--prompt", help="The exact text typed in that chat.")
@click.option("--name", help="The recipe's name (default: the file's).")
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@click.option("--try/--no-try", "tries", default=None, help="Send a prompt with the new recipe.")
def new(
    file: Path, prompt: str | None, name: str | None, force: bool, tries: bool | None, **given: Any
) -> None:
    """Draft a recipe in FILE from one chat in your browser.

    Open the network tab of your browser, log in, ask something short, and save it as a HAR file:

    \b
      berlin recipe new work.toml --har saved.har --prompt "What I typed"

    Or copy single requests "as cURL (bash)" into files; without any option, the command asks for
    them. Passwords, tokens and cookies are not written to FILE: account and password become
    placeholders. Guesses are marked as such.
    """
    if file.exists() and not force:
        raise click.UsageError(f"{file} already exists; use --force to overwrite it")
    sources = _Sources(**given)
    named = name or file.stem
    if sources.har is not None:
        draft = _from_har(sources.har, prompt, named)
    else:
        draft = _from_curl(sources, prompt, named)
    file.write_text(draft.text, encoding="utf-8")
    _tell(file, draft)
    asks = sys.stdin is not None and sys.stdin.isatty()
    if tries or (tries is None and asks and click.confirm("Try it now?", default=True, err=True)):
        try_recipe.main([str(file), draft.prompt], standalone_mode=False)


def _from_har(path: Path, prompt: str | None, name: str) -> Draft:
    exchanges = read_har(path.read_bytes())
    at = choose_chat(exchanges, prompt)
    chat = exchanges[at]
    login_at = choose_login(exchanges[:at], chat.request)
    login = exchanges[login_at] if login_at is not None else None
    between = exchanges[(login_at or -1) + 1 : at]
    _say(f"the chat: {chat.request.method} {chat.request.origin}{chat.request.path}")
    if login is not None:
        _say(f"the login: {login.request.method} {login.request.origin}{login.request.path}")
    else:
        _say("no login was found in the file")
        if is_without_secrets(exchanges):
            _say(
                "the file has neither cookies nor tokens: browsers omit them. In Chrome and "
                "Edge allow it in the settings of the developer tools (Network: Allow to generate "
                "HAR with sensitive data), then hold the export button and choose the export with "
                "sensitive data; Firefox saves them always"
            )
    return write_draft(chat, login, prompt, name, between, exchanges[: login_at or 0])


def _from_curl(sources: _Sources, prompt: str | None, name: str) -> Draft:
    if sources.login_curl is not None:
        login = _exchange(sources.login_curl, sources.login_answer, "the login")
    elif sources.curl is None and click.confirm(
        "Does the service have a login with account and password?", default=True, err=True
    ):
        login = _exchange(None, None, "the login")
    else:
        login = None
    chat = _exchange(sources.curl, sources.answer, "one chat")
    if prompt is None and sources.curl is None:
        prompt = click.prompt("The exact text typed in it", err=True)
    return write_draft(chat, login, prompt, name)


def _exchange(request: Path | None, answer: Path | None, what: str) -> Exchange:
    if request is None:
        command = ask_for_paste(f'Paste {what}, copied "as cURL (bash)"')
    else:
        command = _read(request).decode("utf-8", "replace")
    captured = parse_curl(command)
    if answer is None:
        if request is not None:
            raise click.UsageError(f"the answer to {what} is missing: give its file as well")
        said = ask_for_paste(f"Paste the answer to {what}, unchanged").encode()
    else:
        said = _read(answer)
    headers, body = split_head(said)
    return Exchange(captured, body, 200, headers)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def _tell(file: Path, draft: Draft) -> None:
    _say(f"written to {file}; with this recipe, the given answer reads:")
    _say(draft.answer[:300] + ("…" if len(draft.answer) > 300 else ""))
    if draft.left_out:
        _say(f"left out because they look like secrets: {', '.join(draft.left_out)}")
    _say(f"next: look for `check this` in it, then run: berlin recipe try {file}")


def _say(line: str) -> None:
    click.echo(harmless(f"berlin: {line}"), err=True)
