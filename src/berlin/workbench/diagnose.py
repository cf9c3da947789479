"""Which line of a recipe is probably wrong, by a trial or before it, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from berlin.auth.attach import attachments
from berlin.auth.flows.static import NoneMap
from berlin.errors import (
    AuthenticationError,
    BerlinError,
    ConnectError,
    ProxyError,
    TLSError,
)
from berlin.language.step import BODIES
from berlin.language.values.text import names_in_tree
from berlin.recipes.recipe import Recipe
from berlin.wire.framings import recognise
from berlin.wire.json import decoded_or_none
from berlin.wire.pointer import MISSING
from berlin.workbench.diagnose_answer import diagnose_answer
from berlin.workbench.draft.leaves import leaves, pointer
from berlin.workbench.parts import Hint, in_words
from berlin.workbench.trial import TriedTurn

LONGEST_LIST = 6
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
# Characters that a user may type and that need escaping in a quoted value.
_NASTY = 'a "quoted" \\ word'


def diagnose(recipe: Recipe, turns: Sequence[TriedTurn], error: BerlinError | None) -> list[Hint]:
    """Return the probable mistakes in a recipe, by what a trial sent and got, and its error."""
    if not turns:
        return _no_answer(recipe, error)
    turn = turns[-1]
    hints = _by_status(recipe, turn)
    if not hints and turn.part.place != ("chat",):
        hints = _by_taken(turn)
    if not hints and turn.part.place == ("chat",) and 200 <= turn.answer.status < 300:
        if isinstance(error, AuthenticationError):
            return [_refused_token(recipe)]
        hints = diagnose_answer(recipe, turn.answer, error)
    return hints


def _no_answer(recipe: Recipe, error: BerlinError | None) -> list[Hint]:
    match error:
        case TLSError():
            why = "the certificate is not trusted: name that of the service's authority"
            return [Hint(("endpoint", "ca_file"), why)]
        case ProxyError():
            return [Hint(("endpoint", "proxy"), "the proxy does not let the request through")]
        case ConnectError():
            why = f"nothing can be reached at {recipe.endpoint.url}: is host and port right?"
            return [Hint(("endpoint", "url"), why)]
        case _:
            return []


def _by_status(recipe: Recipe, turn: TriedTurn) -> list[Hint]:
    part, status = turn.part, turn.answer.status
    sent = f"{turn.request.method} {turn.request.path}"
    is_chat = part.place == ("chat",)
    match status:
        case _ if 200 <= status < 300:
            return []
        case _ if status == 401 or (not part.is_login and status in recipe.auth.rejected_statuses):
            if not part.is_login:
                return [_refused_token(recipe)]
            why = "the service refuses the login (401): are account and password right, and the "
            return [Hint(part.place, f"{why}members of the body that carry them?")]
        case 403 if not part.is_login:
            why = "the service knows the token, but not the request: a header that its own page "
            return [
                Hint((*part.place, "headers"), why + "sends may be missing (CSRF, an app's id)")
            ]
        case 404 if is_chat and b"model" in turn.answer.body[:2000].lower():
            return [Hint(("models", "default"), "the service may not know this model")]
        case 404:
            return [Hint(part.path_key, f"nothing answers to {sent} (404): is the path right?")]
        case 405:
            return [Hint((*part.place, "method"), f"{sent} is not allowed (405): another method?")]
        case 415:
            why = "the service wants the body in another form (415): json, form or multipart"
            return [Hint(part.body_key, why)]
        case 400 | 403 | 422:
            why = f"the service refuses the body ({status}): are its members named right?"
            if part.is_login:
                why += " Or the account, or its password, is wrong"
            return [Hint(part.body_key, why)]
        case _ if 300 <= status < 400:
            to = turn.answer.headers.get("location", "")
            why = f"the service sends elsewhere{f', to {to}' if to else ''}, which is not followed"
            return [Hint(part.path_key, f"{why}: write the final path or URL")]
        case _:
            return []  # 429 and 5xx: the service's own problem


def _by_taken(turn: TriedTurn) -> list[Hint]:
    missing = [name for name, value in turn.taken.items() if value is MISSING or value is None]
    if not missing:
        return []
    places = [turn.part.step.take[name] for name in missing]
    wants_json = any(isinstance(place, str) or bool(place.pointer) for place in places)
    if wants_json and recognise(turn.answer.body).is_page:
        why = f"the answer is a web page: {turn.request.path} is not the one of the API"
        return [Hint(turn.part.path_key, why)]
    return [_missing(turn, name) for name in missing]


def _missing(turn: TriedTurn, name: str) -> Hint:
    where = in_words(turn.part.step.take[name])
    why = f"there is nothing at {where}; the answer has {_values_in(turn)}"
    return Hint((*turn.part.place, "take", name), why)


def _values_in(turn: TriedTurn) -> str:
    """Return the places of texts in an answer that could be taken, with their lengths."""
    document = decoded_or_none(turn.answer.body)
    texts = {pointer(p): v for p, v in leaves(document) if p and isinstance(v, str) and v}
    longest = sorted(texts, key=lambda place: -len(texts[place]))[:LONGEST_LIST]
    found = [f"{place} ({len(texts[place])} characters)" for place in longest]
    found += [f"the cookie {name}" for name in turn.cookies]
    return ", ".join(found) or "no text that could be one"


def _refused_token(recipe: Recipe) -> Hint:
    if isinstance(recipe.auth, NoneMap):
        why = 'the service wants a login, and the recipe says flow = "none"'
        return Hint(("auth", "flow"), why)
    attach = attachments(recipe.auth.attach)[0]
    why = (
        f"the service does not accept the token sent in {attach.where}"
        f"{f' after {attach.prefix!r}' if attach.prefix else ''}. Is it the right one, and does "
        "the service want it elsewhere? Often it is "
        '{ header = "Authorization", prefix = "Bearer " }'
    )
    return Hint(("auth", "attach"), why)


def find_unused(recipe: Recipe) -> list[Hint]:
    """Return the parts of a recipe that have no effect; each is a mistake."""
    if recipe.chat.format != "described":
        return []  # it fills every placeholder, and an unknown one is an error when it is read
    return [*_dropped_prompt(recipe), *_broken_json(recipe)]


def _dropped_prompt(recipe: Recipe) -> Iterator[Hint]:
    """Find a prompt that has no value where the conversation goes out as a list."""
    chat = recipe.chat
    if chat.messages.form != "array":
        return
    for key in (*BODIES, "query"):
        if "prompt" in names_in_tree(getattr(chat, key)):
            why = '{prompt} has no value with messages.form = "array", so its member is left out: '
            yield Hint(("chat", key), why + 'remove it, or write form = "flatten" or "last"')


def _broken_json(recipe: Recipe) -> Iterator[Hint]:
    """Find JSON inside a field that a quote in the prompt would break."""
    for key in BODIES[1:]:
        body = getattr(recipe.chat, key) or {}
        for name, text in body.items() if isinstance(body, dict) else [("", body)]:
            if isinstance(text, str) and _breaks(text):
                why = (
                    "a quote in the prompt breaks the JSON in this field: write {json:{prompt}} "
                    'without quotes around it, in place of "{prompt}"'
                )
                yield Hint(("chat", key, name) if name else ("chat", key), why)


def _breaks(text: str) -> bool:
    plain = _PLACEHOLDER.sub("word", text)
    nasty = _PLACEHOLDER.sub(_NASTY.replace("\\", r"\\"), text)
    if not text.lstrip().startswith(("{", "[")) or "{prompt}" not in text.replace(" ", ""):
        return False
    return _is_json(plain) and not _is_json(nasty)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
