"""Guesses the table `[chat]` from a request: its variable values become placeholders."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from berlin.errors import ConfigurationError
from berlin.language.secrets_scan import looks_secret
from berlin.language.step import BODIES
from berlin.workbench.draft.follow import CSRF, UUID
from berlin.workbench.draft.leaves import (
    DROP,
    GUESS,
    Place,
    change_leaves,
    json_in,
    last_name,
    leaves,
    member,
    pointer,
    quoted,
    said_as,
    texts_in,
)
from berlin.workbench.draft.message_list import MessageList, find_message_list, last_user_text
from berlin.workbench.draft.sources.captured import LEFT_OUT, Captured, kept_headers

_PLACEHOLDER_LIKE = re.compile(r"\{[a-z0-9_]+\}")
_MODELS = frozenset({"model", "modelid", "modelname", "modelslug", "engine", "llm"})
_CONVERSATIONS = frozenset({"conversationid", "chatid", "sessionid", "threadid", "dialogid"})
_PARENTS = frozenset({"parentid", "parentmessageid", "replyto", "lastmessageid"})
_SYSTEMS = frozenset({"system", "systemprompt", "systemmessage", "instructions"})
_KEPT_IDS = {"conversation_id": _CONVERSATIONS, "parent_id": _PARENTS}
_PROMPTS = frozenset(
    {"prompt", "message", "query", "question", "content", "text", "input", "q", "msg", "ask"}
)
_OPTIONS = {
    "temperature": "temperature",
    "topp": "top_p",
    "topk": "top_k",
    "maxtokens": "max_tokens",
    "maxnewtokens": "max_tokens",
    "maxoutputtokens": "max_tokens",
    "presencepenalty": "presence_penalty",
    "frequencypenalty": "frequency_penalty",
    "seed": "seed",
}


class RequestGuess(msgspec.Struct, frozen=True):
    """The guessed structure of a request.

    Attributes:
        chat: the table `[chat]`, without its stream.
        notes: comments for its lines.
        model: the requested model; `""` if it names none.
        left_out: the names of headers that are not in the recipe.
        has_prompt: whether it carries the prompt.
    """

    chat: dict[str, Any]
    notes: dict[tuple[str, ...], str]
    model: str
    left_out: list[str]
    has_prompt: bool

    @property
    def step(self) -> dict[str, Any]:
        """The request alone, as a step of the chat or of a login."""
        kept = ("path", "method", "query", "headers", *BODIES)
        return {name: value for name, value in self.chat.items() if name in kept}


def find_prompt(request: Captured) -> str:
    """Return the most likely prompt of a request: the user's longest text.

    Raises:
        ConfigurationError: if there is none.
    """
    kind, document = request.document()
    if text := document if kind == "body" else last_user_text(document):
        return text
    return longest_text([*leaves(document), *leaves(request.query)])


def longest_text(members: Iterable[tuple[Place, Any]]) -> str:
    """Return the longest text of a member that may be a prompt. Raises ConfigurationError."""
    texts = [
        value
        for place, value in members
        if isinstance(value, str) and last_name(place) in _PROMPTS and not UUID.fullmatch(value)
    ]
    if not any(texts):
        raise ConfigurationError("which text is the prompt? Name it with --prompt TEXT")
    return max(texts, key=len)


def kept_ids(turn: Captured, answers: Iterable[bytes]) -> dict[str, str]:
    """Return the ids of a conversation that a turn carries from earlier ones, with their names."""
    try:
        members = [*leaves(turn.document()[1])]
    except ConfigurationError:
        return {}
    known = b"".join(answers)
    return {
        value: ours
        for ours, theirs in _KEPT_IDS.items()
        for place, value in members
        if isinstance(value, str)
        and value
        and last_name(place) in theirs
        and value.encode() in known
    }


def guess_request(
    request: Captured, prompt: str, secrets: frozenset[str], taken: dict[str, str]
) -> RequestGuess:
    """Guess the structure of a request. Raises ConfigurationError.

    Args:
        request: the chat, or one that prepares it.
        prompt: the text that its user typed; `""` for a request that does not carry it.
        secrets: values that must not appear in the recipe.
        taken: values issued by earlier responses, and their placeholders.
    """
    return _Guess(request, prompt, secrets, taken).result()


def fill(
    tree: dict[str, Any], above: Place, secrets: frozenset[str], taken: dict[str, str]
) -> tuple[dict[str, Any], dict[Place, str]]:
    """Return what is sent besides the body, with placeholders, and comments; see `guess_request`.

    Its place in the recipe is `above`.
    """
    guess = _Guess(Captured("GET", "http://none.invalid"), "", secrets, taken)
    return guess.replaced(tree, above), guess.notes


class _Guess:
    def __init__(
        self, request: Captured, prompt: str, secrets: frozenset[str], taken: dict[str, str]
    ) -> None:
        self._request = request
        self._prompt = prompt
        self._secrets = secrets
        self._taken = taken
        self.notes: dict[tuple[str, ...], str] = {}
        self._model = ""
        self._used: set[str] = set()
        self._messages: MessageList | None = None

    def result(self) -> RequestGuess:
        """Return the guess."""
        kind, document = self._request.document()
        chat: dict[str, Any] = {"path": self._path(), "method": self._request.method}
        if chat["method"] == "POST":
            del chat["method"]
        elif chat["method"] not in ("GET", "PUT", "PATCH", "DELETE"):
            raise ConfigurationError(f"a recipe cannot send {chat['method'][:20]}")
        is_whole = chat["path"].startswith("{") and chat["path"].endswith("}")
        query = {} if is_whole else self.replaced(self._request.query, ("chat", "query"))
        if query:
            chat["query"] = query
        headers, left_out = self._headers()
        if headers:
            chat["headers"] = headers
        if kind:
            chat[kind] = self._body(document, kind)
        for name in self._request.file_fields():
            self._note(("chat", kind), f"{GUESS}: the file in {name} is left out")
        if kind == "body":
            content_type = {"Content-Type": self._request.header("content-type") or "text/plain"}
            chat["headers"] = {**content_type, **headers}
        self._add_messages(chat)
        if kind == "json":
            self._add_options(chat, chat["json"])
        has_prompt = bool(self._used & {"prompt", "messages"})
        return RequestGuess(chat, self.notes, self._model, left_out, has_prompt)

    def _path(self) -> str:
        request = self._request
        for whole in (request.url, request.url.removeprefix(request.origin)):
            if whole in self._taken:
                return f"{{{self._taken[whole]}}}"
        segments = []
        for segment in self._request.path.split("/"):
            value = self._word(unquote(segment)) if segment else ""
            segments.append(value if value.startswith("{") else segment)
            if UUID.fullmatch(segment) and segments[-1] == segment:
                self.notes["chat", "path"] = f"{GUESS}: an id of yours, or of one conversation"
        path = "/".join(segments)
        # A literal brace would be taken for a placeholder.
        return re.sub(r"\{(?!(?:\w+)\})", quote("{"), path)

    def _word(self, value: str) -> str:
        """Return the replacement for a value in a path: a placeholder, or the value itself."""
        if value in self._taken:
            return f"{{{self._taken[value]}}}"
        if value and value == self._prompt:
            self._used.add("prompt")
            return "{prompt}"
        return value

    def _headers(self) -> tuple[dict[str, str], list[str]]:
        kept = kept_headers(self._request, self._secrets)
        marks: dict[str, str] = {}
        for name, value in self._request.headers:
            scheme, _, rest = value.rpartition(" ")
            # The token itself is attached to every request.
            if self._taken.get(rest, "token") != "token" and name.lower() != "cookie":
                marks[name] = f"{scheme} {{{self._taken[rest]}}}".strip()
        left_out = [
            name
            for name, _ in self._request.headers
            if name not in kept and name not in marks and not LEFT_OUT.fullmatch(name)
        ]
        return {**self.replaced(kept, ("chat", "headers")), **marks}, left_out

    def _body(self, document: Any, kind: str) -> Any:
        if kind == "json" and self._prompt:
            self._messages = find_message_list(document, self._prompt)
        where = self._messages.place if self._messages else None
        if where is None:
            return self.replaced(document, ("chat", kind))
        self._used.add("messages")
        marked = change_leaves(document, lambda p, v: DROP if p[: len(where)] == where else v)
        body = self.replaced(marked, ("chat", kind))
        here = body
        for part in where[:-1]:
            here = here.setdefault(part, {})
        here[where[-1]] = "{messages}"
        return body

    def replaced(self, tree: Any, above: Place) -> Any:
        """Return a tree with placeholders for its variable values."""
        return change_leaves(tree, lambda place, value: self._leaf((*above, *place), value))

    def _leaf(self, place: Place, value: Any) -> Any:
        name = last_name(place)
        if name in _SYSTEMS and value in (None, "") and "system" not in self._used:
            self._used.add("system")
            return "{system}"
        for ours, theirs in _KEPT_IDS.items():
            if name in theirs and (value in (None, "") or self._taken.get(str(value)) == ours):
                self._used.add(ours)
                return f"{{{ours}}}"
        if value is None and place[-1].isdecimal():
            return "{null}"  # what follows it in the list keeps its place
        if value is None:
            self._note(place[:-1], f"{place[-1]} was null, and is left out")
            return DROP
        if self._is_lost(place, value):
            self._note(place[:-1], f"{GUESS}: {place[-1]} was left out; no answer gives its value")
            return DROP
        if not isinstance(value, str):
            if str(value) in self._taken and not isinstance(value, bool):
                return f"{{{self._taken[str(value)]}}}"
            if isinstance(value, int) and 10**9 < value < 10**14 and value not in (True, False):
                self._note(place, f"{GUESS}: a time?")
            return value
        return self._text(place, name, value)

    def _text(self, place: Place, name: str, value: str) -> Any:
        if value in self._taken:
            return f"{{{self._taken[value]}}}"
        if value and value == self._prompt:
            self._used.add("prompt")
            return "{prompt}"
        if (inner := json_in(value)) is not None and self._varies(inner):
            return self._as_json(inner, place)
        if name in _MODELS and value and not self._model:
            self._model = value
            return "{model}"
        scheme, _, rest = value.rpartition(" ")
        if scheme and rest in self._taken:
            return f"{scheme} {{{self._taken[rest]}}}"
        if UUID.fullmatch(value):
            self._note(place, f"{GUESS}: a new id for each request")
            return "{uuid4}"
        if name != "body" and (self._holds_secret(value) or looks_secret(name, value)):
            self._note(place[:-1], f"{GUESS}: {place[-1]} was left out; it looks like a secret")
            return DROP
        if _PLACEHOLDER_LIKE.search(value):
            self._note(place[:-1], f"{GUESS}: {place[-1]} was left out; it has braces in it")
            return DROP
        if place == ("chat", "body") and (written := self._in_xml(value)):
            self._used.add("prompt")
            self._note(place, f"{GUESS}: the prompt is part of a longer text")
            return value.replace(written, "{xml:{prompt}}", 1)
        if len(self._prompt) > 2 and said_as(self._prompt, [value]):
            self._used.add("prompt")
            self._note(place, f"{GUESS}: the prompt is part of a longer text")
            return value.replace(quoted(self._prompt), "{json:{prompt}}", 1).replace(
                self._prompt, "{prompt}", 1
            )
        return value

    def _in_xml(self, text: str) -> str:
        """Return the prompt as an XML document writes it; `""` if it is not in one."""
        if len(self._prompt) < 3 or not text.lstrip("\ufeff \t\r\n").startswith("<"):
            return ""
        plain_text = html.escape(self._prompt, quote=False)
        forms = [html.escape(self._prompt), plain_text.replace('"', "&quot;"), plain_text]
        forms += [forms[1].replace("'", "&apos;"), self._prompt]
        return next((form for form in forms if form in text), "")

    def _varies(self, tree: Any) -> bool:
        """Whether a document contains the prompt, a value that was taken, or one that is lost."""
        texts = [*texts_in(tree)]
        return (
            bool(said_as(self._prompt, texts))
            or any(text in self._taken for text in texts)
            or any(self._is_lost(place, value) for place, value in leaves(tree) if place)
        )

    def _is_lost(self, place: Place, value: Any) -> bool:
        """Whether a value is a CSRF token, and was not taken from an answer."""
        is_plain = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
        return is_plain and bool(CSRF.fullmatch(member(place))) and str(value) not in self._taken

    def _as_json(self, tree: Any, place: Place) -> str:
        """Return a document within a text as JSON, with placeholders for its variable values."""
        match tree:
            case dict():
                members = ((name, self._as_json(v, (*place, name))) for name, v in tree.items())
                return f"{{{', '.join(f'{quoted(name)}: {value}' for name, value in members)}}}"
            case list():
                items = (self._as_json(item, (*place, str(n))) for n, item in enumerate(tree))
                return f"[{', '.join(items)}]"
            case str():
                text = self._leaf(place, tree)
                if text is DROP:
                    return '""'
                return f"{{json:{text}}}" if text != tree else quoted(tree)
            case _:
                return json.dumps(tree)

    def _holds_secret(self, value: str) -> bool:
        return any(secret in value for secret in self._secrets)

    def _note(self, place: Place, text: str) -> None:
        # A long table gets its own lines; a short one stays on the line of its name.
        self.notes.setdefault(place, text)

    def _add_messages(self, chat: dict[str, Any]) -> None:
        table: dict[str, Any] = {}
        if self._messages is not None:
            table = {"form": "array", **self._messages.table}
            if self._messages.guessed:
                self.notes["chat", "messages"] = f"{GUESS}: {self._messages.guessed}"
        elif "conversation_id" in self._used:
            table = {"form": "last"}
            self.notes["chat", "messages"] = "the service keeps the conversation"
        if "system" in self._used:
            table["system"] = "apart"
        if table:
            chat["messages"] = table

    def _add_options(self, chat: dict[str, Any], body: dict[str, Any]) -> None:
        places = [p for p, _ in leaves(body) if p and plain_option(p[-1])]
        if not places:
            return
        where = places[0][:-1]
        chat["options"] = pointer(where)
        rename = {
            ours: place[-1]
            for place in places
            if place[:-1] == where and (ours := plain_option(place[-1])) != place[-1]
        }
        if rename:
            chat["rename"] = rename


def plain_option(name: str) -> str:
    """Return the usual name of a service's option; `""` if it is unknown."""
    return _OPTIONS.get(last_name((name,)), "")
