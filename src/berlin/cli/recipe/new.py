"""`berlin recipe new`: drafts a recipe from what a browser or curl has sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from berlin.cli.input_file import read_input, why
from berlin.cli.paste import ask_for_paste
from berlin.cli.recipe.trial import try_draft
from berlin.cli.terminal import harmless, is_interactive, tell
from berlin.errors import ConfigurationError
from berlin.types import Secret, mask
from berlin.workbench.draft.choose import find_chat
from berlin.workbench.draft.keys import held_secrets
from berlin.workbench.draft.sources.captured import Captured, Exchange, split_head
from berlin.workbench.draft.sources.curl import parse_curl
from berlin.workbench.draft.sources.har import is_without_secrets, read_har
from berlin.workbench.draft.sources.sent import send, send_chat
from berlin.workbench.draft.writer import Draft, write_draft

# Long sessions make large files.
MAX_FILE_BYTES = 512 * 1024 * 1024

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


class _Command(click.Path):
    """A curl command, or the file that has it; its value is the command."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the command. No message shows one: it holds tokens and passwords."""
        if value.split(maxsplit=1)[:1] == ["curl"]:
            return str(value)
        return _read(Path(str(super().convert(value, param, ctx)))).decode("utf-8", "replace")


_COMMAND = _Command(dir_okay=False, exists=True)


class _Sources(msgspec.Struct, frozen=True):
    """The source of the requests and answers.

    Attributes:
        har: a HAR file with all of them.
        curl: the chat as a curl command.
        login_curl: the login as a curl command.
        login_answer: its answer.
        sends: whether requests may be sent; `None` asks.
    """

    har: Path | None
    curl: str | None
    answer: Path | None
    login_curl: str | None
    login_answer: Path | None
    sends: bool | None


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--har", type=_FILE, help="A HAR file saved from a browser's network tab.")
@click.option("--curl", type=_COMMAND, help='A chat request, copied "as cURL (bash)".')
@click.option("--answer", type=_FILE, help="Its answer; without it, the request is sent.")
@click.option("--login-curl", type=_COMMAND, help='The login request, copied "as cURL (bash)".')
@click.option("--login-answer", type=_FILE, help="Its answer, with headers (curl -i).")
@click.option("--prompt", help="The exact text typed in that chat.")
@click.option("--name", help="The recipe's name (default: the file's).")
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
@click.option(
    "--yes/--no-try",
    "sends",
    default=None,
    help="Try the recipe without asking, or do not try it.",
)
def new(file: Path, prompt: str | None, name: str | None, force: bool, **given: Any) -> None:
    """Draft a recipe in FILE from one chat in your browser, and try it.

    Open the network tab of your browser, log in, ask something short, and save it as a HAR file:

    \b
      berlin recipe new work.toml --har saved.har --prompt "What I typed"

    Or copy single requests "as cURL (bash)", and give each in a file or in quotes; without any
    option, the command asks for them. Then, if you agree, it tries the recipe: it logs in with the
    recorded account and password, at the same address as the browser, and asks the same question.

    Passwords, tokens and cookies are not written to FILE: account and password become
    placeholders. Guesses are marked as such, and missing parts are named.
    """
    if file.exists() and not force:
        raise click.UsageError(f"{file} already exists; use --force to overwrite it")
    sources = _Sources(**given)
    if sources.har is not None:
        exchanges, at = _from_har(sources.har, prompt, sources.sends)
    else:
        exchanges = _from_curl(sources)
        at = len(exchanges) - 1
        if prompt is None and sources.curl is None:
            prompt = click.prompt("The exact text typed in it", err=True)
    draft = write_draft(exchanges, at, prompt, name or file.stem)
    file.write_text(draft.text, encoding="utf-8")
    _report(file, draft)
    if draft.missing:
        lines = "; ".join(draft.missing)
        raise ConfigurationError(f"{file} is not complete: {lines}")
    where = " and ".join(draft.origins)
    who = draft.credentials.get("account")
    logs_in = f"log in as {who} and ask" if who else "ask"
    if _may_send(sources.sends, f"Try it now: {logs_in} {draft.prompt[:60]!r} at {where}?"):
        try_draft(file, draft.prompt, draft.credentials)
        tell(f"it works. Next: berlin add {file}")
    else:
        tell(f"next: look for `check this` in it, then run: berlin recipe try {file}")


def _from_har(path: Path, prompt: str | None, sends: bool | None) -> tuple[list[Exchange], int]:
    exchanges = read_har(_read(path))
    at = find_chat(exchanges, prompt)
    chat = exchanges[at].request
    kind = "a WebSocket to" if exchanges[at].socket is not None else chat.method
    secrets = [Secret(value) for value in held_secrets(exchanges)]
    tell(f"the chat: {kind} {chat.origin}{mask(chat.path, secrets)}")
    if is_without_secrets(exchanges):
        tell(
            "the file has neither cookies nor tokens: browsers omit them. In Chrome and "
            "Edge allow it in the settings of the developer tools (Network: Allow to generate "
            "HAR with sensitive data), then hold the export button and choose the export with "
            "sensitive data; Firefox saves them always"
        )
    if not exchanges[at].answer.strip() and _may_send(
        sends, f"The file does not have its answer. Send it again to {chat.origin}?"
    ):
        exchanges[at] = asyncio.run(send_chat(chat, exchanges[:at]))
    return exchanges, at


def _from_curl(sources: _Sources) -> list[Exchange]:
    before: list[Exchange] = []
    if sources.curl is None and not is_interactive():
        raise click.UsageError(
            "give --har, or --curl with --answer: there is no terminal to ask on"
        )
    if sources.login_curl is not None:
        before = [_exchange(sources.login_curl, sources.login_answer, "the login", sources, [])]
    elif sources.curl is None and click.confirm(
        "Does the service have a login with account and password?", default=True, err=True
    ):
        before = [_exchange(None, None, "the login", sources, [])]
    return [*before, _exchange(sources.curl, sources.answer, "one chat", sources, before)]


def _exchange(
    command: str | None,
    answer: Path | None,
    what: str,
    sources: _Sources,
    before: list[Exchange],
) -> Exchange:
    pasted = command is None
    captured = parse_curl(command or ask_for_paste(f'Paste {what}, copied "as cURL (bash)"'))
    if answer is not None:
        return _answered(captured, _read(answer))
    question = f"Send {what} to {captured.origin}, to get its answer?"
    if _may_send(sources.sends, question):
        return asyncio.run(send_chat(captured, before) if before else send(captured))
    if not pasted:
        option = "--login-answer" if what == "the login" else "--answer"
        raise click.UsageError(
            f"the answer to {what} is missing: give {option}, or --yes to send the request"
        )
    return _answered(captured, ask_for_paste(f"Paste the answer to {what}, unchanged").encode())


def _answered(captured: Captured, said: bytes) -> Exchange:
    status, headers, body = split_head(said)
    return Exchange(captured, body, status, headers)


def _may_send(sends: bool | None, question: str) -> bool:
    if sends is not None or not is_interactive():
        return bool(sends)
    return click.confirm(harmless(question), default=True, err=True)


def _read(path: Path) -> bytes:
    try:
        return read_input(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {why(error)}") from error


def _report(file: Path, draft: Draft) -> None:
    if draft.answer:
        tell(f"written to {file}; the recorded answer reads, by this recipe:")
        tell(draft.answer[:300] + ("…" if len(draft.answer) > 300 else ""))
    else:
        tell(f"written to {file}")
    if draft.lost:
        tell(
            f"left out, as no answer gives the value: {', '.join(draft.lost)}; if the service "
            "wants it, record anew, from before the login page is opened"
        )
    if draft.left_out:
        tell(f"left out because they look like secrets: {', '.join(draft.left_out)}")
