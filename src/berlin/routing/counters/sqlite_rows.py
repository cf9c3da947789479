"""The rows of counters in SQLite: each function runs in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from berlin.routing.counters.contract import (
    OWNER_EXPIRES_S,
    Before,
    Calendar,
    Claim,
    Running,
    Sliding,
    excess,
    fits,
)
from berlin.routing.counters.remote import HELD_WAIT_S, RETRY_RUNNING_S, RemoteReply, Shape

VERSION = 1

# A slot holds the amounts of a moment of a sliding window, or of a whole period. `first`, `last`
# and `gone_at` are on the machine's monotonic clock, which all its processes share and nobody sets;
# what is in its future is from before a restart of the machine. `ends` is 0 or the period's end.
SCHEMA = (
    """CREATE TABLE slots (
    counter TEXT NOT NULL, first REAL NOT NULL, gone_at REAL NOT NULL, ends REAL NOT NULL,
    amount INTEGER NOT NULL, PRIMARY KEY (counter, first)) WITHOUT ROWID""",
    """CREATE TABLE held (
    id TEXT NOT NULL, counter TEXT NOT NULL, first REAL NOT NULL, amount INTEGER NOT NULL,
    owner TEXT NOT NULL, kept INTEGER NOT NULL, PRIMARY KEY (counter, id)) WITHOUT ROWID""",
    "CREATE TABLE owners (owner TEXT PRIMARY KEY, seen_at REAL NOT NULL) WITHOUT ROWID",
    f"PRAGMA user_version = {VERSION}",
)


class Moment(msgspec.Struct, frozen=True):
    """The present, on the machine's monotonic clock and in seconds since the epoch."""

    now: float
    wall: float


def beat(file: sqlite3.Connection, owner: str, now: float) -> int:
    """Record that a process is alive; return how many are."""
    file.execute("INSERT OR REPLACE INTO owners VALUES (?, ?)", (owner, now))
    # The later ones are from before a restart of the machine.
    file.execute(
        "DELETE FROM owners WHERE seen_at <= ? OR seen_at > ?", (now - OWNER_EXPIRES_S, now)
    )
    return int(file.execute("SELECT count(*) FROM owners").fetchone()[0])


def missing(
    file: sqlite3.Connection, claims: Sequence[Claim], at: Moment, before: Mapping[str, int]
) -> tuple[str, float, Before] | None:
    """Return a counter that is missing, the beginning of its period, and what knows its amount.

    Those whose amount is known already (`before`) are created.
    """
    for claim in claims:
        shape = Shape.of(claim, at.wall)
        name = shape.name(claim.counter)
        if claim.before is None or _exists(file, name):
            continue
        if claim.counter not in before:
            return claim.counter, shape.begins, claim.before
        add(file, name, shape, before[claim.counter], at.now)
    return None


def reserve(
    file: sqlite3.Connection, id: str, owner: str, claims: Sequence[Claim], at: Moment
) -> RemoteReply:
    """Reserve all claims, or none."""
    owners = beat(file, owner, at.now)
    shapes = [Shape.of(claim, at.wall) for claim in claims]
    names = [shape.name(c.counter) for shape, c in zip(shapes, claims, strict=True)]
    used = [0] * len(claims)
    refused, longest = None, -1.0
    for index, (claim, name) in enumerate(zip(claims, names, strict=True)):
        known = file.execute("SELECT 1 FROM held WHERE counter = ? AND id = ?", (name, id))
        if known.fetchone():
            return RemoteReply(at.wall, owners, tuple(_used(file, each) for each in names))
        if isinstance(claim.window, Sliding):
            _forget(file, name, at.now)
        used[index] = _used(file, name)
        if fits(claim, used[index], _open_count(file, name)):
            continue
        _bury(file, name, claim)
        used[index] = _used(file, name)
        if not fits(claim, used[index], _open_count(file, name)):
            wait = _wait_s(file, claim, name, used[index], at)
            if wait > longest:
                refused, longest = index, wait
    if refused is not None:
        return RemoteReply(at.wall, owners, tuple(used), refused, longest)
    for index, claim in enumerate(claims):
        first = add(file, names[index], shapes[index], claim.amount, at.now)
        file.execute(
            "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?)",
            (id, names[index], first, claim.amount, owner, claim.kept),
        )
        used[index] += claim.amount
    return RemoteReply(at.wall, owners, tuple(used))


def tidy(file: sqlite3.Connection, at: Moment) -> None:
    """Delete periods that are over, and slots that have left their windows."""
    file.execute(
        "DELETE FROM slots WHERE (ends > 0 AND ends + 3600 < ?) OR (gone_at > 0 AND "
        "(gone_at <= ? OR first > ?))",
        (at.wall, at.now, at.now),
    )
    file.execute("DELETE FROM held WHERE counter NOT IN (SELECT counter FROM slots)")


def _forget(file: sqlite3.Connection, name: str, now: float) -> None:
    file.execute(
        "DELETE FROM slots WHERE counter = ? AND (gone_at <= ? OR first > ?)", (name, now, now)
    )


def _exists(file: sqlite3.Connection, name: str) -> bool:
    found = file.execute("SELECT 1 FROM slots WHERE counter = ?", (name,)).fetchone()
    return found is not None


def _used(file: sqlite3.Connection, name: str) -> int:
    found = file.execute("SELECT total(amount) FROM slots WHERE counter = ?", (name,)).fetchone()
    return int(found[0])


def _open_count(file: sqlite3.Connection, name: str) -> int:
    text = "SELECT count(*) FROM held WHERE counter = ? AND NOT kept"
    return int(file.execute(text, (name,)).fetchone()[0])


def add(file: sqlite3.Connection, name: str, shape: Shape, amount: int, now: float) -> float:
    """Add an amount to a counter; return the slot that has it."""
    first, gone_at = 0.0, 0.0
    if shape.span_s:
        text = "SELECT max(first) FROM slots WHERE counter = ?"
        newest = file.execute(text, (name,)).fetchone()[0]
        first = newest if newest is not None and now - newest < shape.width_s else now
        gone_at = now + shape.span_s
    file.execute(
        "INSERT INTO slots VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
        "amount = amount + excluded.amount, gone_at = excluded.gone_at",
        (name, first, gone_at, shape.ends, amount),
    )
    return first


def end(
    file: sqlite3.Connection, name: str, id: str, amount: int | None, *, keep: bool = False
) -> bool:
    """Replace what a request has reserved by an amount; `None` leaves it.

    Args:
        file: the file.
        name: the counter.
        id: the request.
        amount: what it used.
        keep: whether its record stays, so that it can still settle.

    Returns:
        whether it had reserved something.
    """
    key = (name, id)
    text = "SELECT first, amount FROM held WHERE counter = ? AND id = ?"
    held = file.execute(text, key).fetchone()
    if held is None:
        return False
    first, before = held
    if amount is not None:
        file.execute(
            "UPDATE slots SET amount = amount + ? WHERE counter = ? AND first = ?",
            (amount - before, name, first),
        )
    if keep:
        stays = before if amount is None else amount
        text = "UPDATE held SET amount = ?, kept = 1 WHERE counter = ? AND id = ?"
        file.execute(text, (stays, *key))
    else:
        file.execute("DELETE FROM held WHERE counter = ? AND id = ?", key)
    return True


def _bury(file: sqlite3.Connection, name: str, claim: Claim) -> None:
    """End the reservations of processes that are gone.

    What they reserved of a rate or budget stays counted, because it was probably used. Their
    records stay, so that a process that was only paused can still settle.
    """
    dead = file.execute(
        "SELECT id FROM held WHERE counter = ? AND NOT kept AND owner NOT IN "
        "(SELECT owner FROM owners)",
        (name,),
    ).fetchall()
    for (id,) in dead:
        end(file, name, id, 0 if isinstance(claim.window, Running) else None, keep=True)


def _wait_s(file: sqlite3.Connection, claim: Claim, name: str, used: int, at: Moment) -> float:
    """Return the seconds until a claim may fit."""
    match claim.window:
        case Calendar() as period:
            left_s = period.bounds(at.wall)[1] - at.wall
            return HELD_WAIT_S if used < claim.limit else max(left_s, 0.001)
        case Sliding(span_s):
            over, gone_at = excess(claim, used), at.now + span_s
            for amount, gone_at in file.execute(  # noqa: B007
                "SELECT amount, gone_at FROM slots WHERE counter = ? ORDER BY first", (name,)
            ):
                over -= amount
                if over <= 0:
                    break
            return gone_at - at.now
        case _:
            return RETRY_RUNNING_S
