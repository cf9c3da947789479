"""A new user: gives an address to `berlin add` on a terminal, then asks."""

from __future__ import annotations

from support.cli import Cli


async def add_and_chat(cli: Cli, address: str, found: str, *answers: tuple[str, str]) -> None:
    """Add a service that repeats what it hears, and ask it a first question.

    Args:
        cli: the user's programs.
        address: what the user knows of the service.
        found: what recognises it, as it is shown.
        answers: each question of the command, and what the user types.
    """
    async with cli.terminal("add", address) as terminal:
        await terminal.sees(f"{address} is {found}")
        for question, answer in answers:
            await terminal.fills(question, answer)
        await terminal.sees("You said: Hello")
        assert await terminal.ends() == 0
    asked = await cli.run("chat", "Hi")
    assert (asked.code, asked.out) == (0, "You said: Hi\n"), asked.err
