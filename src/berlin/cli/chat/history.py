"""Conversations of `berlin chat`, in a SQLite file that only the user can read."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from berlin.auth.tokens.private_file import make_private_file
from berlin.errors import ConfigurationError
from berlin.types import Message

_SCHEMA = """
create table if not exists conversations (
    id text primary key, started real not null, updated real not null, model text not null,
    title text not null, service_id text not null default '', parent_id text not null default ''
);
create table if not exists messages (
    conversation text not null references conversations(id) on delete cascade,
    n integer not null, at real not null, role text not null, text text not null,
    body blob not null, input_tokens integer, output_tokens integer, finish_reason text,
    primary key (conversation, n)
) without rowid;
create index if not exists conversations_updated on conversations(updated);
"""
MAX_TITLE_CHARS = 60
BUSY_S = 5.0


class Conversation(msgspec.Struct, frozen=True):
    """A stored conversation.

    Attributes:
        id: eight characters.
        started: seconds since the epoch.
        updated: the same, of the last message.
        model: the model that answered: `provider:model`.
        title: the beginning of the first question.
        service_id: the service's own id for it; `""` if it has none.
        parent_id: the service's id of its last answer.
        messages: how many there are.
    """

    id: str
    started: float
    updated: float
    model: str
    title: str
    service_id: str = ""
    parent_id: str = ""
    messages: int = 0


class Entry(msgspec.Struct, frozen=True):
    """One message of a conversation, and the usage of its answer."""

    at: float
    message: Message
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str | None = None


class History:
    """The file with all conversations.

    Args:
        path: the file; created, with its folder, when something is first stored.

    Raises:
        ConfigurationError: from every method, if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, model: str, first: str) -> str:
        """Store a new conversation and return its id."""
        made, now = secrets.token_hex(4), time.time()
        title = " ".join(first.split())
        title = title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…"
        with self._open() as db:
            db.execute(
                "insert into conversations (id, started, updated, model, title) values (?,?,?,?,?)",
                (made, now, now, model, title),
            )
        return made

    def add(
        self, conversation: str, entries: list[Entry], service_id: str = "", parent_id: str = ""
    ) -> None:
        """Store more messages of a conversation."""
        with self._open() as db:
            # In one statement: another process may add to the same conversation.
            db.executemany(_INSERT, [_row(conversation, entry) for entry in entries])
            db.execute(
                "update conversations set updated = :at, "
                "service_id = iif(:service = '', service_id, :service), "
                "parent_id = iif(:parent = '', parent_id, :parent) where id = :id",
                {
                    "at": entries[-1].at,
                    "service": service_id,
                    "parent": parent_id,
                    "id": conversation,
                },
            )

    def find(self, wanted: str = "") -> Conversation:
        """Return the conversation whose id starts with this text, or the latest one.

        Raises:
            ConfigurationError: if there is none, or more than one.
        """
        with self._open() as db:
            found = _select(db, wanted, limit=2)
        if not found:
            raise ConfigurationError(
                f"there is no conversation {wanted!r}; `berlin logs` lists them"
                if wanted
                else "there is no conversation to continue yet"
            )
        if wanted and len(found) > 1:
            raise ConfigurationError(f"{wanted!r} fits more than one id; see `berlin logs`")
        return found[0]

    def entries(self, conversation: str) -> list[Entry]:
        """Return the messages of a conversation, oldest first."""
        with self._open() as db:
            rows = db.execute(
                "select at, body, input_tokens, output_tokens, finish_reason from messages "
                "where conversation = ? order by n",
                (conversation,),
            ).fetchall()
            return [
                Entry(at, msgspec.json.decode(body, type=Message), *rest)
                for at, body, *rest in rows
            ]

    def search(self, text: str = "", limit: int = 20) -> list[Conversation]:
        """Return the latest conversations in which a text occurs, newest first."""
        with self._open() as db:
            return _select(db, text=text, limit=limit)

    def forget(self, conversation: str | None = None) -> int:
        """Delete a conversation, or all; return how many there were."""
        with self._open() as db:
            done = db.execute(
                "delete from conversations where :id is null or id = :id", {"id": conversation}
            )
            return done.rowcount

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Created here, so that nobody else can ever read it.
            make_private_file(self._path)
            db = sqlite3.connect(self._path, timeout=BUSY_S)
            try:
                db.execute("pragma foreign_keys = on")
                db.executescript(_SCHEMA)
                with db:
                    yield db
            finally:
                db.close()
        except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
            raise ConfigurationError(
                f"the conversations in {self._path} cannot be used: {error}; "
                "`[terminal] history = false` in berlin.toml turns them off"
            ) from error


# A later release may have added columns.
_INSERT = """
insert into messages (conversation, n, at, role, text, body, input_tokens, output_tokens,
    finish_reason)
select ?, coalesce(max(n) + 1, 0), ?, ?, ?, ?, ?, ?, ?
from messages where conversation = ?
"""


def _row(conversation: str, entry: Entry) -> tuple[object, ...]:
    body = msgspec.json.encode(entry.message)
    rest = (entry.input_tokens, entry.output_tokens, entry.finish_reason)
    said = (entry.message.role, entry.message.text, body)
    return (conversation, entry.at, *said, *rest, conversation)


_SELECT = """
select c.id, c.started, c.updated, c.model, c.title, c.service_id, c.parent_id,
    (select count(*) from messages m where m.conversation = c.id)
from conversations c
where c.id like :id || '%' escape '\\' and (:text = '' or c.id in (
    select conversation from messages where text like '%' || :text || '%' escape '\\'))
order by c.updated desc limit :limit
"""


def _select(
    db: sqlite3.Connection, wanted: str = "", text: str = "", *, limit: int
) -> list[Conversation]:
    asked = {"id": _escaped(wanted), "text": _escaped(text), "limit": limit}
    rows = db.execute(_SELECT, asked).fetchall()
    return [Conversation(*row) for row in rows]


def _escaped(text: str) -> str:
    """Return text with LIKE wildcards escaped."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
