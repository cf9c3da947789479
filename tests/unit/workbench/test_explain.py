"""A recipe is explained as it will be used."""

from __future__ import annotations

import pytest

from berlin.recipes.recipe import load_recipe, parse_recipe, recipe_names
from berlin.workbench.explain import explain

HEAD = 'schema = 1\nname = "x"\ndescription = "x"\n[endpoint]\nurl = "https://x.example/api"\n'
CHAT = """
[[chat.prepare]]
path = "/chats"
json = {}
take = { chat_id = "/id", cookie = { cookie = "sid" } }

[chat]
path = "/chats/{chat_id}"
json = { q = "{prompt}" }

[chat.stream]
framing = "sse"
text = "/a"
kind = "/type"
kinds = { piece = "text", bye = "end" }
ends = "finish_reason"
"""


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_explained(name: str) -> None:
    """Each recipe is explained, with its URL and the prompt."""
    said = explain(load_recipe(name), "How are you?")
    assert load_recipe(name).endpoint.url in said
    assert "How are you?" in said


def test_what_is_sent_before_the_chat() -> None:
    """The requests of an exchange stand in their order, with what is taken from where."""
    said = explain(parse_recipe(HEAD + CHAT, "x.toml"))
    first, second = said.index("POST https://x.example/api/chats\n"), said.index("/chats/CHAT_ID")
    assert first < second
    assert "takes chat_id from /id" in said
    assert "takes cookie from the cookie sid" in said
    assert '{"q":"Hello"}' in said
    assert "bye: the end" in said
    assert "the event [DONE] or an object of the kind of the end; without, it was cut off" in said


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ('flow = "none"', "the service asks for nothing"),
        ('flow = "api-key"', "in the header Authorization: Bearer ***"),
        ('flow = "api-key"\nattach = { query = "key" }', "in the URL, as ?key=***"),
        ('flow = "api-key"\nattach = { cookie = "sid" }', "in the header Cookie: sid=***"),
        ('flow = "api-key"\nattach = { cookie = "*" }', "in the header Cookie: ***"),
        ('flow = "basic"', "HTTP basic authentication"),
        (
            'flow = "oauth2"\ngrant = "client_credentials"\ntoken_url = "https://id.example/t"',
            "POST https://id.example/t",
        ),
        (
            'flow = "command"\ncommand = ["gh", "auth", "token"]',
            "this program is run and prints the token: gh auth token",
        ),
    ],
)
def test_logins(auth: str, said: str) -> None:
    """Each way to log in is told, and how requests carry the token."""
    assert said in explain(parse_recipe(f"{HEAD}\n[auth]\n{auth}\n{CHAT}", "x.toml"))
