"""`berlin recipe try` and `berlin recipe record`: one prompt, sent as a recipe says."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click

from berlin.auth.credentials import Credentials
from berlin.auth.tokens.private_file import is_disk_full
from berlin.cli.options import JoinedOptions, config_option, login_options, option_option, together
from berlin.cli.person import TerminalPerson
from berlin.cli.recipe.file import RecipeFile
from berlin.cli.recipe.target import TrialTarget, resolve_target
from berlin.cli.secret_warnings import warn_of_secrets
from berlin.cli.terminal import harmless, warn
from berlin.errors import BerlinError
from berlin.recipes.recipe import resolve_endpoint
from berlin.types import ChatRequest, mask
from berlin.wire.transcript import Transcript, encode_transcript
from berlin.workbench.diagnose import diagnose, find_unused
from berlin.workbench.recording import record as record_trial
from berlin.workbench.replay import difference, replay
from berlin.workbench.trial import Trial, TriedTurn
from berlin.workbench.trial_report import describe_answer, describe_turn

_trial_options = together(
    login_options,
    click.option("--url", help="Base URL of the service, instead of the recipe's."),
    option_option,
    click.option("-m", "--model", default="", metavar="MODEL", help="The model that answers."),
    click.option("--timeout", type=float, metavar="SECONDS", help="The time limit for an answer."),
    config_option,
)


@click.command("try", cls=JoinedOptions)
@click.argument("file")
@click.argument("prompt", default="Hello")
@_trial_options
def try_recipe(
    file: str,
    prompt: str,
    model: str,
    options: dict[str, Any],
    **given: Any,
) -> None:
    """Send PROMPT as the recipe FILE says, and show each request, each response and its values.

    It always logs in; no stored token is used, and none is stored. Account and password come from
    the environment (BERLIN_ACCOUNT, BERLIN_PASSWORD, BERLIN_API_KEY …), from the stored login of a
    provider that uses this recipe, or are asked for. They are never shown, nor are tokens and
    cookies.

    If it fails, the command names the line of the recipe that is probably wrong.
    """
    opened = RecipeFile.open(file)
    warn_of_secrets(opened.source, opened.path, opened.secrets)
    _run(opened, _request(prompt, model, options), resolve_target(opened, **given))


@click.command(cls=JoinedOptions)
@click.argument("file")
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("prompt", default="Hello")
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@_trial_options
def record(
    file: str,
    out: Path,
    prompt: str,
    force: bool,
    model: str,
    options: dict[str, Any],
    **given: Any,
) -> None:
    """Try the recipe FILE with PROMPT, and write all requests and responses to OUT.

    Account, password, tokens and cookies are removed. `berlin recipe replay OUT` replays it without
    the service: attach it to a bug report, or keep it as a test. Read it before you share it: it
    contains what the service says about you.
    """
    if out.exists() and not force:
        raise click.UsageError(f"{out} already exists; use --force to overwrite it")
    opened = RecipeFile.open(file)
    who = resolve_target(opened, **given)
    request = _request(prompt, model, options)
    trial = _run(opened, request, who)
    named = opened.text if opened.path is not None else opened.recipe.name
    transcript = record_trial(trial, request, prompt, named, who.credentials.who)
    _write_private(out, encode_transcript(transcript), force=force)
    click.echo(harmless(f"\nWritten to {out}. Read it before you share it."))
    _play_again(transcript, out)


def try_draft(file: Path, prompt: str, known: dict[str, str]) -> None:
    """Try a recipe that was just drafted; its steps are shown only if it does not work.

    Args:
        known: the captured credentials, by name; others are asked for.

    Raises:
        BerlinError: if it does not work.
    """
    opened = RecipeFile.open(str(file))
    flow = opened.recipe.auth.flow()
    needs = flow.needs if flow is not None else ()
    if all(name in known for name in needs):
        described = opened.recipe.endpoint
        values = {name: known[name] for name in needs}
        credentials = Credentials.checked("the file", **values) if values else Credentials()
        who = TrialTarget(resolve_endpoint(described), credentials, described.timeouts)
    else:
        who = resolve_target(opened)
    _run(opened, _request(prompt, "", {}), who, only_errors=True)


def _run(
    opened: RecipeFile, request: ChatRequest, who: TrialTarget, *, only_errors: bool = False
) -> Trial:
    """Try a recipe and show the trial; raises the error that it ends with."""

    def show(turn: TriedTurn) -> None:
        base = who.endpoint.url
        click.echo(harmless(describe_turn(turn, opened.recipe, base, trial.secrets)) + "\n")

    shown_later = (lambda _turn: None) if only_errors else show
    trial = Trial(opened.recipe, who.endpoint, who.credentials, who.timeouts, shown_later)
    asyncio.run(trial.run(request, TerminalPerson()))
    if only_errors and trial.error is not None:
        for turn in trial.turns:
            show(turn)
    if trial.error is None or trial.text:
        click.echo(harmless(describe_answer(trial)))
    hints = diagnose(opened.recipe, trial.turns, trial.error)
    hints += [hint for hint in find_unused(opened.recipe) if hint not in hints]
    for hint in hints:
        likely = "Look at" if trial.error is None else "Likely wrong"
        line = f"{likely}: {opened.where(hint.place)}: {mask(hint.why, trial.secrets)}"
        click.echo(harmless(line))
    if trial.error is not None:
        raise trial.error
    return trial


def _write_private(out: Path, data: bytes, *, force: bool) -> None:
    """Write a file that only its owner may read, never through a link."""
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(out, flags | (os.O_TRUNC if force else os.O_EXCL), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if os.name == "posix":
                os.fchmod(descriptor, 0o600)  # it may have existed before
            file.write(data)
    except OSError as error:
        if is_disk_full(error):  # no part of it stays
            out.unlink(missing_ok=True)
        raise click.UsageError(f"{out} cannot be written: {error}") from error


def _play_again(transcript: Transcript, out: Path) -> None:
    """Warn if a replay of the transcript gives another answer."""
    try:
        differs = difference(transcript, asyncio.run(replay(transcript)))
    except BerlinError as error:
        differs = error.message
    if differs is not None:
        warn(f"{out} replays differently: {differs}")


def _request(prompt: str, model: str, options: dict[str, Any]) -> ChatRequest:
    request = ChatRequest.of(prompt, model=model)
    return ChatRequest(request.messages, request.model, options)
