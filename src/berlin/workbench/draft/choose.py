"""Chooses the login and the chat among all requests a browser sent."""

from __future__ import annotations

from berlin.errors import BerlinError, ConfigurationError
from berlin.workbench.draft.documents import cut_answer
from berlin.workbench.draft.leaves import leaves
from berlin.workbench.draft.login import guess_login
from berlin.workbench.draft.request import find_prompt
from berlin.workbench.draft.sources.captured import Captured, Exchange


def choose_chat(exchanges: list[Exchange], prompt: str | None) -> int:
    """Return the index of the exchange that has the prompt and the longest answer.

    Raises:
        ConfigurationError: if there is none.
    """
    found = [n for n, exchange in enumerate(exchanges) if _is_chat(exchange, prompt)]
    if not found:
        raise ConfigurationError(
            f"no request in the file carries {prompt!r} and has an answer: give the text exactly "
            "as it was typed, and save the file with its contents"
            if prompt
            else "no request in the file looks like a chat: give what was typed, with --prompt TEXT"
        )
    return max(found, key=lambda n: len(exchanges[n].answer))


def choose_login(before: list[Exchange], chat: Captured) -> int | None:
    """Return the index of the exchange that is the login for a chat; `None` without one."""
    for n, exchange in enumerate(before):
        try:
            guess_login(exchange, chat)
        except BerlinError:
            continue
        return n
    return None


def _is_chat(exchange: Exchange, prompt: str | None) -> bool:
    request = exchange.request
    if not 200 <= exchange.status < 300 or request.method == "OPTIONS":
        return False
    try:
        cut_answer(exchange.answer)
        if prompt is None:
            return bool(find_prompt(request)) and request.method == "POST"
        _, document = request.document()
    except BerlinError:
        return False
    said = [*(value for _, value in leaves(document)), *request.query.values()]
    return any(isinstance(value, str) and prompt in value for value in said)
