"""Finds what a recipe says and no request uses, before anything is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from berlin.language.step import BODIES
from berlin.language.values.text import names_in_tree
from berlin.recipes.recipe import Recipe
from berlin.workbench.parts import Hint

_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
# Characters that a user may type and that need escaping in a quoted value.
_NASTY = 'a "quoted" \\ word'


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
