"""Puts the guesses together: a recipe file with a comment on every guessed line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.language.secrets_scan import find_secrets
from berlin.language.values.functions import MAX_RANDOM_CHARS
from berlin.recipes.recipe import SCHEMA, parse_recipe
from berlin.types import Secret, mask
from berlin.workbench.draft.answer import AnswerGuess, guess_answer, unread_answer
from berlin.workbench.draft.choose import Session, find_polls
from berlin.workbench.draft.documents import find_known
from berlin.workbench.draft.follow import (
    UUID,
    Chain,
    carried_by,
    carried_in,
    made_by_client,
)
from berlin.workbench.draft.keys import (
    LEAST_CHARS,
    LoginGuess,
    guess_key,
    held_secrets,
    tokens_in,
)
from berlin.workbench.draft.leaves import GUESS, plain, pointer, said_as
from berlin.workbench.draft.login import find_login, guess_login
from berlin.workbench.draft.request import RequestGuess, fill, find_prompt, guess_request, kept_ids
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.toml_writer import comment, write_toml

# A shorter secret may also be a word in the recipe, such as a dictionary-word password.
LONG_SECRET_CHARS = 10
POLL_S = 1.0
_WORD = re.compile(r"[A-Za-z_-]+")
_PLACEHOLDER = re.compile(r"(\{[a-z0-9_]+\})")
HEAD = """\
# A first draft, made of what a browser or curl sent. Where it says "check this", it is a guess.
"""


class Draft(msgspec.Struct, frozen=True):
    """A first recipe.

    Attributes:
        prompt: the prompt of the captured request; `""` if it was not found.
        answer: what it reads from the captured answer.
        left_out: headers left out because they look like secrets.
        lost: headers and members with a CSRF token that no answer issued.
        missing: what could not be found, each with what to do.
        credentials: what the user logged in with, by the names of `Credentials`.
        origins: where it sends something: the service first, then the hosts of the login.
    """

    text: str
    prompt: str
    answer: str
    left_out: list[str]
    lost: list[str]
    missing: list[str]
    credentials: dict[str, str]
    origins: list[str]

    def __repr__(self) -> str:
        return f"Draft(prompt={self.prompt!r}, missing={self.missing!r})"


def write_draft(
    exchanges: Sequence[Exchange],
    chat: int = -1,
    prompt: str | None = None,
    name: str | None = None,
) -> Draft:
    """Return a first recipe, also if something could not be found.

    Args:
        exchanges: the requests of a session and their responses, in order: the page with the login
            form, the login, what prepares the chat, the chat, what reads its answer.
        chat: the index of the request with the prompt.
        prompt: the prompt; found in the request by default.
        name: the recipe's name; the host's by default.
    """
    return _Draft(exchanges, chat % len(exchanges), prompt, name).write()


class _Draft:
    def __init__(
        self, exchanges: Sequence[Exchange], asked: int, prompt: str | None, name: str | None
    ) -> None:
        self._exchanges = exchanges
        self._asked = asked
        self._request = exchanges[asked].request
        self._missing: list[str] = []
        said = said_as(prompt, self._request.texts()) if prompt else ""
        self._prompt = said or prompt or self._find_prompt()
        self._answered = Session(exchanges, self._prompt).answer(asked)
        self._chats = sorted({asked, self._answered})
        held = held_secrets(exchanges)
        self._secrets = frozenset(value for value in held if value not in self._prompt)
        self._chain = Chain(exchanges, frozenset({self._prompt}))
        here = (self._request.method, self._request.url)
        turns = [e for e in exchanges[:asked] if (e.request.method, e.request.url) == here]
        kept = kept_ids(self._request, (turn.answer for turn in turns))
        for value, issued in {**exchanges[self._answered].names, **kept}.items():
            self._chain.know(value, issued)
        self._name = name or _name(self._request)
        self._notes: dict[tuple[str, ...], str] = {}

    def write(self) -> Draft:
        """Return the draft."""
        auth = self._auth()
        self._notes |= auth.notes
        self._secrets |= {v for v, name in self._chain.names.items() if "csrf" in name}
        self._secrets |= {v for name, v in auth.credentials.items() if name != "client_id"}
        self._secrets |= {value for value in self._chain.lost if len(value) > LEAST_CHARS}
        origin = self._request.origin
        tree: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self._name,
            "description": f"The chat at {urlsplit(origin).hostname}",
            "endpoint": {"url": origin},
        }
        if auth.auth:
            tree["auth"] = auth.auth
        let = self._shared_ids()
        left_out: list[str] = []
        if known := find_known(self._exchanges[self._asked]):
            tree["endpoint"]["url"] += known.base
            tree["chat"] = known.chat
            model, answer = known.model, known.answer.text
        else:
            asked = self._add_chat(tree)
            model, answer, left_out = asked.model, self._add_answer(tree), asked.left_out
            _drop_unused_ids(tree["chat"])
            if let:
                tree["chat"]["let"] = let
        _shorten_urls(tree.get("auth", {}), tree["endpoint"]["url"])
        if model:
            tree["models"] = {"default": model}
        return Draft(
            self._checked(tree),
            self._prompt,
            answer,
            left_out,
            list(dict.fromkeys(self._chain.lost.values())),
            self._missing,
            auth.credentials,
            [origin, *_other_origins(auth.auth)],
        )

    def _find_prompt(self) -> str:
        try:
            return find_prompt(self._request)
        except ConfigurationError as error:
            self._missing.append(error.message)
            return ""

    def _auth(self) -> LoginGuess:
        try:
            found = find_login(self._exchanges, self._asked)
            if found is not None:
                return guess_login(self._exchanges, found, self._chain, self._chats)
        except ConfigurationError as error:
            self._missing.append(f"the login: {error.message}")
        key = guess_key(self._request, self._exchanges[self._answered].socket)
        self._secrets |= {v for v in key.credentials.values() if len(v) > LEAST_CHARS}
        for value in (*key.credentials.values(), *(v for _, v in tokens_in(self._request))):
            if value in self._secrets:
                self._chain.know(value, "token")
        for at in self._chats:
            self._chain.follow(at)
        return key

    def _shared_ids(self) -> dict[str, str]:
        """Name the ids that the client made for several of its requests; return the table `let`."""
        socket = self._exchanges[self._answered].socket or {}
        messages = [step.get("send") for step in socket.get("before", ())]
        carriers = [carried_by(self._exchanges[at].request) for at in self._chats]
        let = {}
        for value, name in made_by_client([*carriers, *map(carried_in, messages)]).items():
            if value not in self._chain.names and not UUID.fullmatch(value):
                placeholder = f"my_{plain(name)}"
                let[placeholder] = f"{{random_hex:{min(len(value), MAX_RANDOM_CHARS)}}}"
                self._chain.know(value, placeholder)
        return let

    def _add_chat(self, tree: dict[str, Any]) -> RequestGuess:
        """Add the chat, and the requests that prepare it; return the one with the prompt."""
        needed = {*self._chain.taken, self._asked} - self._chain.in_login
        needed = {n for n in needed if self._exchanges[n].request.origin == self._request.origin}
        guesses = {at: self._guess(at) for at in sorted(needed | {self._answered})}
        asked, chat = guesses[self._asked], guesses.pop(self._answered)
        self._notes |= asked.notes | chat.notes
        more = ("messages", "options", "rename")
        tree["chat"] = chat.chat | {key: asked.chat[key] for key in more if key in asked.chat}
        taken = {at: {"take": self._chain.taken[at]} for at in guesses if at in self._chain.taken}
        if prepare := [{**guess.step, **taken.get(at, {})} for at, guess in guesses.items()]:
            tree["chat"]["prepare"] = prepare
        if not asked.has_prompt:
            self._missing.append(
                "the prompt is nowhere in the request: give the text that was typed, with "
                f"--prompt TEXT (now it is {self._prompt[:60]!r})"
            )
        return asked

    def _guess(self, at: int) -> RequestGuess:
        request = self._exchanges[at].request
        prompt = self._prompt if at == self._asked else ""
        own = self._chain.taken.get(at, {})  # what its answer issues may repeat what it sent
        names = {value: name for value, name in self._chain.names.items() if name not in own}
        try:
            return guess_request(request, prompt, self._secrets, names)
        except ConfigurationError as error:
            self._missing.append(f"{request.method} {request.path}: {error.message}")
            chat = {"path": request.path, "json": {"message": "{prompt}"}}
            return RequestGuess(chat, {("chat", "json"): f"{GUESS}: write the body"}, "", [], True)

    def _add_answer(self, tree: dict[str, Any]) -> str:
        exchange = self._exchanges[self._answered]
        is_apart = self._answered != self._asked
        polls = find_polls(self._exchanges, self._answered) if is_apart else []
        try:
            guess = guess_answer(exchange.answer, self._prompt)
            if len(polls) > 1:
                guess = _polled(guess, polls)
                tree["chat"]["poll_s"] = POLL_S
        except BerlinError as error:
            self._missing.append(f"the text of the answer: {error.message}")
            guess = unread_answer(exchange.answer)
        tree["chat"]["stream"] = guess.stream
        if exchange.socket is not None:
            self._add_socket(tree["chat"], exchange.socket, guess)
        self._notes |= {("chat", "stream", key): note for key, note in guess.notes.items()}
        return guess.answer.text

    def _add_socket(self, chat: dict[str, Any], socket: dict[str, Any], guess: AnswerGuess) -> None:
        """Add what is exchanged on the socket besides the question and its answer."""
        guess.stream["framing"] = "ndjson"
        # The ids of a message that is waited for are those of another day.
        sent = {key: value for key, value in socket.items() if key not in ("protocol", "only")}
        filled, notes = fill(sent, ("chat", "socket"), self._secrets, self._chain.names)
        chat["socket"] = {**socket, **filled}
        self._notes |= notes
        if "before" in socket:
            self._notes["chat", "socket"] = f"{GUESS}: the messages before the question"
        if "ends" not in guess.stream:
            self._notes["chat", "stream"] = (
                f"{GUESS}: no message seems to end the answer; if the service leaves the socket "
                "open, name one by kinds or finish_reason"
            )

    def _checked(self, tree: dict[str, Any]) -> str:
        """Return the file; what makes it no recipe yet is missing."""
        # A short one may also be a word of the language.
        hidden = [
            Secret(s)
            for s in self._secrets
            if len(s) >= LONG_SECRET_CHARS or not _WORD.fullmatch(s)
        ]
        text = _without_secrets(tree, self._notes, hidden)
        try:
            parse_recipe(text, f"{self._name}.toml")
        except BerlinError as error:
            if not self._missing:
                self._missing.append(error.message)
        lines = [f"Missing: {line}" for line in self._missing]
        lost = self._chain.lost.values()
        lines += [f"Left out: {name}, since no answer gives its value" for name in lost]
        said = "".join(f"# {comment(line)}\n" for line in dict.fromkeys(lines))
        return HEAD + mask(said, hidden) + text


def _other_origins(auth: dict[str, Any]) -> list[str]:
    """Return the hosts of a login that are not the service's: their URLs are whole."""
    urls = [auth.get("token_url", ""), *(step["path"] for step in auth.get("steps", ()))]
    parts = [urlsplit(url) for url in urls if "://" in url]
    return list(dict.fromkeys(f"{part.scheme}://{part.netloc}" for part in parts))


def _polled(guess: AnswerGuess, polls: list[Exchange]) -> AnswerGuess:
    """Return the description of an answer that several requests asked for until it was ready."""
    stream = {**guess.stream, "text_is": "cumulative", "framing": "json"}
    documents = [exchange.document() for exchange in polls]
    for name in ("status", "state", "phase"):
        words = [document.get(name) for document in documents]
        if isinstance(words[-1], str) and words[-1] not in words[:-1]:
            stream |= {"finish_reason": pointer((name,)), "ends": "finish_reason"}
            stream["unfinished"] = sorted({str(word) for word in words[:-1] if word})
            stream.pop("finish_reasons", None)
            break
    return msgspec.structs.replace(guess, stream=stream)


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
    tree: dict[str, Any], notes: dict[tuple[str, ...], str], secrets: list[Secret]
) -> str:
    """Return the file without the secrets, and without what still looks like one."""
    text = write_toml(tree, notes)
    found = _found_in(text, [*secrets, *(found.value for found in find_secrets(text))])
    said = {place: mask(note, found) for place, note in notes.items()}
    return write_toml(_masked(tree, found), said)


def _found_in(text: str, secrets: list[Secret]) -> list[Secret]:
    """Return the secrets that are in a text in any form: of thousands, few are."""
    if not secrets or mask(text, secrets) == text:
        return []
    half = len(secrets) // 2
    if not half:
        return secrets
    return [*_found_in(text, secrets[:half]), *_found_in(text, secrets[half:])]


def _masked(tree: Any, secrets: list[Secret]) -> Any:
    match tree:
        case dict():
            return {mask(n, secrets): _masked(value, secrets) for n, value in tree.items()}
        case list():
            return [_masked(value, secrets) for value in tree]
        case str():
            # A password that is also a word leaves the placeholders as they are.
            pieces = _PLACEHOLDER.split(tree)
            return "".join(p if n % 2 else mask(p, secrets) for n, p in enumerate(pieces))
        case _:
            return tree


def _name(request: Captured) -> str:
    host = urlsplit(request.url).hostname or ""
    parts = [part for part in host.split(".") if part not in ("www", "chat", "api", "com")]
    return re.sub(r"[^a-z0-9-]+", "-", (parts or [host])[0].lower()).strip("-") or "draft"
