"""Drafts: whatever is pasted, a recipe that loads comes out, or an error that says why."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from berlin.errors import BerlinError
from berlin.recipes.recipe import parse_recipe
from berlin.workbench.draft.sources.captured import Captured, Exchange
from berlin.workbench.draft.writer import write_draft

PROMPT = "What is TCP?"
KEY = "sk-proj-9aF3kQ7zLm2XvB8nRt4WcY6d"
NAMES = st.sampled_from(
    [
        *("prompt", "messages", "model", "content", "role", "token", "id", "conversation_id"),
        *("system", "type", "text", "error", "message", "done", "data", "a b", "{x}", "", "~/"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**40)
    | st.text(max_size=6)
    | st.sampled_from([PROMPT, "user", "{model}", KEY, "3f2b8a54-0c1d-4e7a-9b61-5d2f7c9e8a10"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=5)
ANSWERS = st.lists(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), max_size=4)


def exchange(body: Any, answer: list[Any], path: str = "/chat", prefix: str = "") -> Exchange:
    lines = "".join(f"{prefix}{json.dumps(item)}\n{prefix and chr(10)}" for item in answer)
    headers = (("Content-Type", "application/json"), ("Authorization", f"Bearer {KEY}"))
    request = Captured(
        "POST", f"https://a.example.com{path}", headers, json.dumps(body, default=str).encode()
    )
    return Exchange(request, lines.encode())


@settings(deadline=None, max_examples=50)
@given(BODIES, ANSWERS, st.sampled_from(["", "data: "]), st.sampled_from([PROMPT, None]))
@example({"prompt": PROMPT, "{x}": "{y}"}, [{"text": "Hi"}], "", PROMPT)
@example({"prompt": PROMPT, "token": KEY, "model": KEY}, [{"text": "Hi"}], "", PROMPT)
@example({"prompt": PROMPT}, [{"text": "Hi", "a b": {"~/": "longer text"}}], "", PROMPT)
def test_every_draft_is_a_recipe(
    body: Any, answer: list[Any], prefix: str, prompt: str | None
) -> None:
    """And the key is in none of them."""
    try:
        draft = write_draft([exchange(body, answer, prefix=prefix)], prompt=prompt)
    except BerlinError:
        return
    assert KEY not in draft.text
    if not draft.missing:
        parse_recipe(draft.text, "draft.toml")


def test_a_reason_is_no_reasoning() -> None:
    """Why an answer ended is no part of it."""
    answer = [
        *({"delta": {"text": piece}} for piece in ("One", " two")),
        {"end": {"reason": "stop"}},
    ]
    recipe = parse_recipe(write_draft([exchange({"prompt": PROMPT}, answer)]).text, "draft.toml")
    assert recipe.chat.stream is not None
    assert (recipe.chat.stream.finish_reason, recipe.chat.stream.reasoning) == ("/end/reason", [])


def test_a_kept_conversation_goes_on() -> None:
    """Where the request has a place for the id that the answer gives."""
    body = {"prompt": PROMPT, "conversationId": None, "parentMessageId": ""}
    answer = [{"text": "Hi", "conversationId": "c-1", "messageId": "m-1"}]
    recipe = parse_recipe(write_draft([exchange(body, answer)]).text, "draft.toml")
    assert recipe.chat.messages.form == "last"
    assert recipe.chat.json is not None
    assert recipe.chat.json["parentMessageId"] == "{parent_id}"
    assert recipe.chat.stream is not None
    assert recipe.chat.stream.conversation_id == "/conversationId"


def test_options_keep_the_service_s_names() -> None:
    """The caller's usual names are translated."""
    body = {"prompt": PROMPT, "settings": {"maxOutputTokens": 100, "temperature": 1}}
    recipe = parse_recipe(write_draft([exchange(body, [{"text": "Hi"}])]).text, "draft.toml")
    assert recipe.chat.options == "/settings"
    assert recipe.chat.rename == {"max_tokens": "maxOutputTokens"}
