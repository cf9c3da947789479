"""`berlin chat`: one question, or a conversation."""

from __future__ import annotations

import asyncio
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from berlin.cli.options import (
    JoinedOptions,
    as_typed,
    config_option,
    load_for_commands,
    model_option,
    option_option,
)

if TYPE_CHECKING:
    from berlin.cli.chat.session import Session
    from berlin.config import Config
    from berlin.types.messages import Part

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(cls=JoinedOptions)
@click.argument("words", metavar="[PROMPT]", nargs=-1)
@model_option
@click.option("-s", "--system", metavar="TEXT", help="The system prompt.")
@option_option
@click.option(
    "-a",
    "--attach",
    "attached",
    multiple=True,
    metavar="FILE",
    help="A file to send with the question: an image, a PDF or text; - is standard input.",
)
@click.option("-c", "--continue", "goes_on", is_flag=True, help="Continue the last conversation.")
@click.option("--id", "wanted", metavar="ID", help="Continue this conversation from `berlin logs`.")
@click.option(
    "--schema", type=_FILE, metavar="FILE", help="A JSON Schema that the answer must follow."
)
@click.option("--json", "as_json", is_flag=True, help="Write each event as a line of JSON.")
@click.option("--raw", is_flag=True, help="Do not render Markdown.")
@click.option(
    "--reasoning/--no-reasoning",
    default=None,
    help="Show the model's reasoning (default: only on a terminal).",
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Report who answered and which attempts failed."
)
@click.option("--no-history", is_flag=True, help="Do not store this conversation.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="The time limit for an answer.",
)
@config_option
def chat(
    words: tuple[str, ...],
    model: str | None,
    attached: tuple[str, ...],
    goes_on: bool,
    wanted: str | None,
    no_history: bool,
    config: Path | None,
    **given: Any,
) -> int:
    """Ask PROMPT, or hold a conversation if there is none.

    Piped text is appended to the prompt, or is the prompt:

    \b
      berlin chat "What is a token?"
      git diff | berlin chat "Review this"
      berlin chat -a chart.png "What does this show?"
      berlin chat                  (a conversation; Ctrl-D ends it)
      berlin chat -c "And why?"    (continues the last one)

    On a terminal the answer is rendered as Markdown; in a pipe it is plain, unchanged text.
    Ctrl-C stops an answer. Conversations are stored: `berlin logs` lists them.
    """
    from berlin.cli.chat.attach import attach
    from berlin.cli.chat.standard_input import read_question

    question = read_question(_one_prompt(words), waits="-" not in attached)
    parts = attach(attached)
    settings = load_for_commands(config)
    keeps = settings.terminal.history and not no_history
    session, last = _session(given, keeps, "" if goes_on else wanted)
    screen = {name: given[name] for name in ("as_json", "raw", "reasoning", "verbose")}
    try:
        return asyncio.run(_chat(question, parts, model or last, screen, session, settings))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


def _one_prompt(words: tuple[str, ...]) -> str | None:
    """Return the prompt; `None` for none, and for `-`, which means standard input."""
    if len(words) > 1:
        raise click.UsageError(
            f"the prompt has several parts, from {words[1][:40]!r} on; put quotes around it: "
            'berlin chat "What is a token?"'
        )
    return as_typed(words[0], "the prompt") if words and words[0] != "-" else None


def _session(given: dict[str, Any], keeps: bool, wanted: str | None) -> tuple[Session, str]:
    """Return the session, and the last model used in it if it continues."""
    from berlin.cli.chat.actions import history, recall
    from berlin.cli.chat.schema import read_schema
    from berlin.cli.chat.session import AnswerSettings, Session

    schema, system = given["schema"], given["system"]
    wishes = AnswerSettings(
        as_typed(system, "-s") if system is not None else None,
        given["options"],
        given["timeout"],
        read_schema(schema) if schema is not None else None,
    )
    session = Session(wishes, history() if keeps else None)
    if wanted is None:
        return session, ""
    conversation, messages = recall(wanted)
    session.resume(conversation, messages)
    return session, conversation.model


async def _chat(
    text: str | None,
    parts: tuple[Part, ...],
    model: str,
    shown: dict[str, Any],
    session: Session,
    config: Config,
) -> int:
    """Answer a question, or hold a conversation if there is none; return the exit code."""
    from berlin.cli.chat.answer import Answer, open_screen, show_answer
    from berlin.cli.chat.opening import find
    from berlin.cli.chat.session import ask_with

    _stop_when_killed()
    load = find(model, config)
    open_one = partial(open_screen, **shown, asked=model)
    if text is None:
        from berlin.cli.chat.conversation import Chat
        from berlin.config import model_names

        names = list(model_names(config).list_all())
        chat = Chat(session, partial(find, config=config), open_one, names, parts)
        return await chat.run(load)
    async with load() as (provider, own_model, label):
        question = ask_with(text, parts)
        answer = Answer()
        request = session.request(question, own_model, provider.timeouts)
        try:
            await show_answer(provider, request, open_one(), answer)
        finally:
            session.took(question, answer, label)
        return 0


def _stop_when_killed() -> None:
    """Let a closed terminal and SIGTERM cancel this task, so that the turn is stored."""
    task = asyncio.current_task()
    if task is None or sys.platform == "win32":
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
