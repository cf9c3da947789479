"""`berlin logs`: the stored conversations."""

from __future__ import annotations

import time
from typing import Any

import click

from berlin.cli.chat.actions import history
from berlin.cli.chat.history import Conversation, Entry
from berlin.cli.terminal import harmless, is_interactive, json_line, one_line, say


@click.command()
@click.argument("wanted", metavar="[ID]", required=False)
@click.option("-q", "--search", metavar="TEXT", default="", help="Only those that contain TEXT.")
@click.option("-n", "--count", type=click.IntRange(1, 1_000_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--forget", is_flag=True, help="Delete the conversation ID, or all of them.")
def logs(wanted: str | None, search: str, count: int, as_json: bool, forget: bool) -> None:
    """List the conversations of `berlin chat`, or show the one whose id begins with ID.

    They are in a SQLite file that only you can read; `[terminal] history = false` in berlin.toml
    stores none. `berlin chat --id ID` continues one.
    """
    kept = history()
    if forget:
        _forget(wanted)
    elif wanted is not None:
        conversation = kept.find(wanted)
        _show(conversation, kept.entries(conversation.id), as_json=as_json)
    else:
        _list(kept.search(search, count), as_json=as_json)


def _forget(wanted: str | None) -> None:
    kept = history()
    if not wanted and is_interactive():
        click.confirm("Delete all conversations?", abort=True, err=True)
    count = kept.forget(kept.find(wanted).id if wanted else None)
    click.echo(f"Deleted {count} conversation{'' if count == 1 else 's'}.")


def _list(found: list[Conversation], *, as_json: bool) -> None:
    if as_json:
        for c in found:
            _write({"id": c.id, "updated": c.updated, "model": c.model, "title": c.title})
        return
    if not found:
        say("No conversation found.")
    for c in found:
        line = f"{c.id}  {_when(c.updated)}  {c.messages // 2:>3}  {c.model}  {c.title}"
        click.echo(one_line(line))


def _show(conversation: Conversation, entries: list[Entry], *, as_json: bool) -> None:
    if as_json:
        for entry in entries:
            tokens = {"input_tokens": entry.input_tokens, "output_tokens": entry.output_tokens}
            said = {"at": entry.at, "role": entry.message.role, "content": entry.message.text}
            _write({**said, **tokens, "finish_reason": entry.finish_reason})
        return
    click.echo(harmless(f"{conversation.id}  {_when(conversation.started)}  {conversation.model}"))
    for entry in entries:
        click.echo(harmless(f"\n{entry.message.role}:\n{entry.message.text}"))


def _write(value: dict[str, Any]) -> None:
    click.echo(json_line(value))


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
