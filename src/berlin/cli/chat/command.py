"""`berlin chat`: one question, or a conversation."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from berlin.cli.options import config_option, load_for_commands
from berlin.cli.terminal import open_writer

if TYPE_CHECKING:
    from berlin.cli.chat.conversation import Load, Opening
    from berlin.config import Config

EMBEDDED = "embedded"

MAX_STDIN_BYTES = 20 * 1024 * 1024

GUIDE_NOTICE = (
    "berlin: this is the built-in guide, not a model. "
    "To use a real service: berlin login --url https://your.service"
)


@click.command()
@click.argument("prompt", required=False)
@click.option(
    "-m", "--model", metavar="PROVIDER:MODEL", help="Who answers; either part may stand alone."
)
@click.option(
    "-s", "--system", metavar="TEXT", help="What the model is told before the conversation."
)
@click.option(
    "-o",
    "--option",
    "options",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="An option for the model, such as: -o temperature 0.5",
)
@click.option(
    "--timeout", type=float, metavar="SECONDS", help="The longest that an answer may take."
)
@config_option
def chat(
    prompt: str | None,
    model: str | None,
    system: str | None,
    options: tuple[tuple[str, str], ...],
    timeout: float | None,
    config: Path | None,
) -> int:
    """Ask PROMPT, or hold a conversation if there is none.

    Piped text is added to the prompt, or is the prompt:

    \b
      berlin chat "What is a token?"
      git diff | berlin chat "Review this"
      berlin chat                          (a conversation; Ctrl-D ends it)

    On a terminal the answer is rendered Markdown; in a pipe it is plain text, as it came.
    Ctrl-C stops an answer.
    """
    question = _with_stdin(prompt)
    given: dict[str, Any] = {name: _value(text) for name, text in options}
    if timeout is not None:
        given["timeout"] = timeout
    return asyncio.run(_chat(question, model or "", system, given, config))


async def _chat(
    question: str | None,
    model: str,
    system: str | None,
    options: dict[str, Any],
    config_file: Path | None,
) -> int:
    messages = [{"role": "system", "content": system}] if system is not None else []
    load = _find(model, config_file)
    if question is None:
        from berlin.cli.chat.conversation import converse

        return await converse(load, messages, options)
    async with load() as (provider, name):
        messages.append({"role": "user", "content": question})
        writer = open_writer()
        try:
            async with aclosing(provider.text(messages, model=name, **options)) as pieces:
                async for piece in pieces:
                    writer.write(piece)
        finally:
            writer.close()
        return 0


def _find(model: str, config_file: Path | None) -> Load:
    """Return a function that loads the provider that a model's name means.

    Raises:
        ModelNotFoundError: if it means none.
    """
    from berlin.config import default_provider, model_names

    config = load_for_commands(config_file)
    name, _, rest = model.partition(":")
    if name == EMBEDDED or (not model and default_provider(config) is None):
        click.echo(GUIDE_NOTICE, err=True)
        return partial(_load_embedded, rest)
    target = model_names(config).resolve(model)
    return partial(_load_named, target.provider, target.model, config)


def _load_embedded(model: str) -> Opening:
    from berlin.cli.chat.embedded import open_embedded

    return open_embedded(model)


def _load_named(name: str, model: str, config: Config) -> Opening:
    from berlin.client import build_named

    return nullcontext((build_named(name, config), model))


def _with_stdin(prompt: str | None) -> str | None:
    """Return the prompt with what was piped in; `None` asks for a conversation."""
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the prompt is empty")
    if sys.stdin is None or sys.stdin.closed:
        if prompt is None:
            raise click.UsageError("there is no prompt, and standard input is closed")
        return prompt
    if sys.stdin.isatty():
        if prompt is None and not sys.stdout.isatty():
            raise click.UsageError("a conversation needs a terminal; give a PROMPT for one answer")
        return prompt
    try:
        data = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"standard input cannot be read: {error}") from error
    if len(data) > MAX_STDIN_BYTES:
        raise click.UsageError(f"standard input is longer than {MAX_STDIN_BYTES} bytes")
    try:
        piped = data.decode()
    except UnicodeDecodeError:
        raise click.UsageError("standard input is not text in UTF-8") from None
    if "\0" in piped:
        raise click.UsageError("standard input is binary, not text")
    if not piped.strip():
        if prompt is None:
            raise click.UsageError("there is no prompt: give one, or pipe text in")
        return prompt
    return piped if prompt is None else f"{prompt}\n\n{piped}"


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
