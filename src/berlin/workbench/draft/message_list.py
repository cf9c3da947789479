"""Finds the list of messages in a request, and the layout of one message."""

from __future__ import annotations

from typing import Any

import msgspec

from berlin.workbench.draft.leaves import DROP, Place, change_leaves, leaves

_WORDS = {
    "user": ("user", "human", "question", "me"),
    "assistant": ("assistant", "ai", "bot", "model", "answer", "gpt"),
    "system": ("system",),
}


class MessageList(msgspec.Struct, frozen=True):
    """The place and the layout of the messages.

    Attributes:
        place: of the list in the body.
        table: members of `[chat.messages]`.
        guessed: what the request does not show; `""` if it shows everything.
    """

    place: Place
    table: dict[str, Any]
    guessed: str


def find_message_list(document: Any, prompt: str) -> MessageList | None:
    """Return the list whose last message is the prompt, with its role; `None` without one."""
    for place, items in _lists(document, ()):
        last = dict(leaves(items[-1]))
        texts = [p for p, value in last.items() if value == prompt]
        roles = [p for p, value in last.items() if _role(value) == "user"]
        if texts and roles:
            return _describe(place, items, texts[0], roles[0])
    return None


def last_user_text(document: Any) -> str:
    """Return the last user text in a list of messages; `""` without one."""
    for _, items in _lists(document, ()):
        texts = [value for _, value in leaves(items[-1]) if isinstance(value, str)]
        if "user" in map(_role, texts):
            return max((text for text in texts if _role(text) != "user"), key=len, default="")
    return ""


def _describe(place: Place, items: list[Any], text: Place, role: Place) -> MessageList:
    known = {text: "{text}", role: "{role}"}
    dropped = []

    def change(where: Place, value: Any) -> Any:
        if where in known:
            return known[where]
        # What all messages share belongs to the layout; what differs belongs to one message.
        same = all(dict(leaves(item)).get(where) == value for item in items)
        if isinstance(value, bool) or (same and len(items) > 1) or value in ("text", "message"):
            return value
        dropped.append(where[-1])
        return DROP

    item = change_leaves(items[-1], change)
    table: dict[str, Any] = {}
    if item != {"role": "{role}", "content": "{text}"}:
        table["item"] = item
    said = {str(dict(leaves(each)).get(role)) for each in items}
    roles = {ours: word for word in sorted(said) if (ours := _role(word)) and ours != word}
    guessed = f"left out of each message: {', '.join(dropped)}" if dropped else ""
    if roles and "assistant" not in {_role(word) for word in said}:
        roles["assistant"] = "ai" if roles.get("user") == "human" else "bot"
        guessed = "the word for the assistant is a guess"
    if roles:
        table["roles"] = roles
    return MessageList(place, table, guessed)


def _lists(tree: Any, above: Place) -> list[tuple[Place, list[Any]]]:
    """Return the lists of objects found in objects, from the outside in."""
    found: list[tuple[Place, list[Any]]] = []
    if isinstance(tree, dict):
        for name, value in tree.items():
            here = (*above, name)
            if isinstance(value, list) and value and all(isinstance(i, dict) for i in value):
                found.append((here, value))
            found += _lists(value, here)
    return found


def _role(value: object) -> str:
    """Return our name of a role; `""` if it is not a role."""
    if not isinstance(value, str):
        return ""
    return next((ours for ours, words in _WORDS.items() if value.lower() in words), "")
