"""The services behind the gateway: one that knows only text, and one that takes tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.mind import Mind
from berlin.recipes.recipe import Recipe, parse_recipe
from berlin.workbench.fake import open_fake

# Tokens live that long: they expire several times while an agent is at work.
TOKEN_LIFETIME_S = 0.3

SIGN_IN = """
[endpoint]
url = "http://127.0.0.1:1"

[auth]
flow = "login"
attach = { header = "x-session-token" }

[[auth.steps]]
path = "/api/sign-in"
json = { user = "{account}", password = "{password}" }
take = { token = "/session/token" }
"""

TEXT_ONLY = (
    """
schema = 1
name = "text-only"
description = "A chat behind a login that knows only text and keeps its own conversations"

[chat]
path = "/api/ask"
json = { question = "{prompt}", conversation = "{conversation_id}" }
drop = ["temperature"]

[chat.messages]
form = "last"

[chat.stream]
framing = "sse"
text = "/answer"
text_is = "cumulative"
finish_reason = "/finish"
conversation_id = "/conversation"
message_id = "/message_id"
error_message = "/message"
ends = "finish_reason"

[conversations]
"""
    + SIGN_IN
)

WITH_TOOLS = (
    """
schema = 1
name = "with-tools"
description = "A service that takes tools, behind the same login"

[chat]
format = "openai-chat"
path = "/api/chat/completions"

[models]
default = "m"
capabilities = ["tools"]
"""
    + SIGN_IN
)

RECIPES = {"text-only": TEXT_ONLY, "with-tools": WITH_TOOLS}


class Service:
    """A service, and what it has seen.

    Attributes:
        url: where it is.
        mind: what answers.
        logins: how often somebody logged in.
        expired: requests that came with an expired token.
        failed: other requests that it refused.
    """

    def __init__(self, mind: Mind) -> None:
        self.url = ""
        self.mind = mind
        self.logins = self.expired = 0
        self.failed: list[str] = []

    def note(self, line: str) -> None:
        """Take note of a line of the fake's log."""
        if "/api/sign-in -> 200" in line:
            self.logins += 1
        elif "-> 401" in line:
            self.expired += 1
        elif "-> 200" not in line:
            self.failed.append(line)


@asynccontextmanager
async def open_service(text: str) -> AsyncIterator[Service]:
    """Give a running service that a recipe describes."""
    recipe: Recipe = parse_recipe(text, "service.toml")
    service = Service(Mind())
    async with open_fake(
        recipe, service.mind, lifetime_s=TOKEN_LIFETIME_S, note=service.note
    ) as url:
        service.url = url
        yield service
