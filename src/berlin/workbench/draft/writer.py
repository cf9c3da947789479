"""Puts the guesses together: a recipe file with a comment on every guessed line."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec

from berlin.errors import ConfigurationError
from berlin.language.secrets_scan import find_secrets
from berlin.recipes.recipe import SCHEMA, parse_recipe
from berlin.workbench.draft.answer import guess_answer
from berlin.workbench.draft.follow import find_source, given_headers, held_secrets
from berlin.workbench.draft.known import find_known
from berlin.workbench.draft.leaves import last_name, leaves, pointer
from berlin.workbench.draft.login import LoginGuess, guess_key, guess_login
from berlin.workbench.draft.request import find_prompt, guess_request
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.sources.headers import kept_headers
from berlin.workbench.draft.toml_writer import write_toml

LEAST_ID_CHARS = 6
# A shorter secret may also be a word in the recipe, such as a dictionary-word password.
LONG_SECRET_CHARS = 10
HEAD = """\
# A first draft, made of one request and its answer. Where it says "check this", it is a guess.
"""


class Draft(msgspec.Struct, frozen=True):
    """A first recipe.

    Attributes:
        text: the file.
        prompt: the prompt of the captured request.
        answer: what it reads from the captured answer.
        left_out: headers left out because they look like secrets.
    """

    text: str
    prompt: str
    answer: str
    left_out: list[str]


def write_draft(
    chat: Exchange,
    login: Exchange | None = None,
    prompt: str | None = None,
    name: str | None = None,
    between: list[Exchange] | None = None,
    before: list[Exchange] | None = None,
) -> Draft:
    """Return a first recipe.

    Args:
        chat: one request with a prompt, and its answer.
        login: the login before it.
        prompt: the prompt; found in the request by default.
        name: the recipe's name; the host's by default.
        between: requests between the two, which may include the one that created the conversation.
        before: requests before the login, which may include the page with its form.

    Raises:
        ConfigurationError: if no recipe can be made from it; the error says what is missing.
    """
    request = chat.request
    before, between = before or [], between or []
    logins = [login] if login is not None else []
    auth = guess_key(request) if login is None else guess_login(login, request, before)
    secrets = auth.secrets | held_secrets([*before, *logins, *between, chat])
    auth = msgspec.structs.replace(auth, secrets=secrets)
    prompt = prompt or find_prompt(request)
    tree: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name or _name(request),
        "description": f"The chat at {urlsplit(request.url).hostname}",
        "endpoint": {"url": request.origin},
    }
    notes = dict(auth.notes)
    left_out: list[str] = []
    if auth.auth:
        tree["auth"] = auth.auth
    known = find_known(chat)
    if known is not None:
        tree["endpoint"]["url"] += known.base
        tree["chat"], model, answer = known.chat, known.model, known.answer.text
    else:
        guess = guess_answer(chat.answer)
        prepare = _find_prepare(request, between, auth)
        taken = {value: n for step in prepare for n, value in step.taken.items()}
        asked = guess_request(request, prompt, auth.secrets, taken)
        tree["chat"] = {**asked.chat, "stream": guess.stream}
        more = {
            "headers": {
                **asked.chat.get("headers", {}),
                **_follow_marks(request, auth, login, before),
            },
            "prepare": [step.table for step in prepare],
        }
        tree["chat"] |= {key: value for key, value in more.items() if value}
        notes |= asked.notes
        notes |= {("chat", "stream", key): note for key, note in guess.notes.items()}
        model, answer, left_out = asked.model, guess.answer.text, asked.left_out
        _drop_unused_ids(tree["chat"])
    _shorten_urls(tree.get("auth", {}), tree["endpoint"]["url"])
    if model:
        tree["models"] = {"default": model}
    text = _without_secrets(tree, notes, secrets)
    parse_recipe(text, f"{tree['name']}.toml")
    return Draft(text, prompt, answer, left_out)


def _follow_marks(
    chat: Captured, auth: LoginGuess, login: Exchange | None, before: list[Exchange]
) -> dict[str, str]:
    """Return the CSRF headers that the login's responses issue, and let the login take them."""
    headers: dict[str, str] = {}
    steps = auth.auth.get("steps")
    if login is None or not steps:
        return headers
    for n, (name, value) in enumerate(given_headers(chat)):
        source = find_source(value, [*before, login], chat.origin)
        if source is None:
            continue
        taken = f"mark_{n + 1}" if n else "mark"
        is_cookie = isinstance(source.place, dict) and "cookie" in source.place
        path = source.exchange.request.origin + source.exchange.request.path
        # A cookie set by any step is still there at the last one.
        step = next((s for s in steps if s["path"] == path), None)
        step = steps[-1] if is_cookie or source.exchange is login else step
        if step is not None:
            step["take"][taken] = source.place
            headers[name] = f"{{{taken}}}"
    return headers


class _Prepare(msgspec.Struct, frozen=True):
    table: dict[str, Any]
    taken: dict[str, str]


def _find_prepare(chat: Captured, between: list[Exchange], auth: LoginGuess) -> list[_Prepare]:
    """Return the request whose response has an id that the chat's path or body carries."""
    _, document = chat.document()
    carried = {v for _, v in leaves(document) if isinstance(v, str) and len(v) >= LEAST_ID_CHARS}
    carried |= {part for part in chat.path.split("/") if len(part) >= LEAST_ID_CHARS}
    for exchange in reversed(between):
        answer = exchange.document()
        if exchange.request.origin != chat.origin or not isinstance(answer, dict):
            continue
        found = {
            place: value
            for place, value in leaves(answer)
            if isinstance(value, str) and value in carried and re.search(r"\d|-", value)
        }
        if not found:
            continue
        place, value = next(iter(found.items()))
        name = re.sub(r"[^a-z0-9]+", "_", f"made_{last_name(place) or 'id'}")
        asked = _prepare_request(exchange.request, auth)
        return [_Prepare({**asked, "take": {name: pointer(place)}}, {name: value})]
    return []


def _prepare_request(request: Captured, auth: LoginGuess) -> dict[str, Any]:
    kind, document = request.document()
    table: dict[str, Any] = {"path": request.path}
    if request.method != "POST":
        table["method"] = request.method
    headers = kept_headers(request, auth.secrets)
    if headers:
        table["headers"] = headers
    if kind:
        table[kind] = document
    if any(secret in str(table) for secret in auth.secrets):
        raise ConfigurationError("the request that begins the conversation contains a secret")
    return table


def _shorten_urls(auth: dict[str, Any], base: str) -> None:
    """Write the URLs of a login relative to the base URL, where possible."""
    for table, name in ((auth, "token_url"), *((step, "path") for step in auth.get("steps", ()))):
        if table.get(name, "").startswith(f"{base}/"):
            table[name] = table[name].removeprefix(base)


def _drop_unused_ids(chat: dict[str, Any]) -> None:
    """Do not read ids that no request carries."""
    sent = str({name: value for name, value in chat.items() if name != "stream"})
    for name, placeholder in (("conversation_id", "conversation_id"), ("message_id", "parent_id")):
        if f"{{{placeholder}}}" not in sent:
            chat["stream"].pop(name, None)


def _without_secrets(
    tree: dict[str, Any], notes: dict[tuple[str, ...], str], secrets: frozenset[str]
) -> str:
    """Return the file with everything replaced that was, or still looks like, a secret."""
    text = write_toml(tree, notes)
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= LONG_SECRET_CHARS:
            text = text.replace(secret, "REMOVED")
    lines = text.splitlines()
    for found in find_secrets(text):
        value = found.value.reveal()
        line = lines[found.line - 1]
        lines[found.line - 1] = line.replace(value, "REMOVED")
        if value not in line:
            raise ConfigurationError(
                f"{found.key} looks like {found.what}; take it out of the pasted request"
            )
    return HEAD + "\n".join(lines) + "\n"


def _name(request: Captured) -> str:
    host = urlsplit(request.url).hostname or ""
    parts = [part for part in host.split(".") if part not in ("www", "chat", "api", "com")]
    return re.sub(r"[^a-z0-9-]+", "-", (parts or [host])[0].lower()).strip("-") or "draft"
