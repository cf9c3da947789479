"""Replays a transcript: everything is real except the network."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

import msgspec

from berlin.auth.credentials import NAMES, Credentials
from berlin.auth.flows.command import CommandMap
from berlin.auth.flows.static import ApiKeyMap
from berlin.errors import ProtocolError
from berlin.recipes.build import build_provider
from berlin.recipes.recipe import Recipe, load_recipe, parse_recipe
from berlin.transport.record import Replay
from berlin.types import ChatRequest, ChatResponse, Endpoint, Timeouts, accumulate
from berlin.types.messages import parse_messages
from berlin.wire.transcript import HIDDEN, Transcript

# The interval between polls of a service; the shortest possible.
_POLL_S = 0.05


async def replay(
    transcript: Transcript, cut: Callable[[bytes], Iterable[bytes]] = lambda body: [body]
) -> ChatResponse:
    """Return the answer that a transcript produces now.

    Args:
        cut: splits the body of an answer into the chunks in which it arrives.

    Raises:
        BerlinError: the error that ends the answer; a ProtocolError if the requests differ from the
            recorded ones, or some are missing.
        ConfigurationError: if there is no such recipe, or its text is not a recipe.
    """
    sender = Replay(transcript.turns, cut)
    recipe = _without_side_effects(recipe_of(transcript))
    # A unique host: a token from an earlier replay would skip the login.
    endpoint = Endpoint.of(f"https://{uuid.uuid4()}.invalid")
    credentials = Credentials.checked("the transcript", **dict.fromkeys(NAMES, HIDDEN))
    provider, _ = build_provider(recipe, endpoint, credentials, Timeouts(), record=lambda _: sender)
    request = ChatRequest(parse_messages(transcript.messages), transcript.model, transcript.options)
    response = await accumulate(event async for b in provider.bursts(request) for event in b)
    if sender.left:
        raise ProtocolError(f"the last {sender.left} turns of the transcript were not asked for")
    return response


def recipe_of(transcript: Transcript) -> Recipe:
    """Return the recipe that a transcript names or contains. Raises ConfigurationError."""
    if isinstance(transcript.recipe, str):
        return load_recipe(transcript.recipe)
    text = "\n".join(line.removesuffix("\n") for line in transcript.recipe)
    return parse_recipe(text, "the transcript's recipe")


def difference(transcript: Transcript, response: ChatResponse) -> str | None:
    """Return in words the difference from the recorded answer; `None` if there is none."""
    usage = response.usage
    for what, was, now in (
        ("text", transcript.text, response.text),
        ("reasoning", transcript.reasoning, response.reasoning),
        ("finish reason", transcript.finish_reason, response.finish_reason),
        ("count of input tokens", transcript.input_tokens, usage and usage.input_tokens),
        ("count of output tokens", transcript.output_tokens, usage and usage.output_tokens),
    ):
        if was != now:
            return f"the {what} is {now!r}; the transcript has {was!r}"
    return None


def _without_side_effects(recipe: Recipe) -> Recipe:
    """Return a recipe that never waits, prompts or starts a program."""
    auth, chat = recipe.auth, recipe.chat
    flow = auth.flow()
    if isinstance(auth, CommandMap) or (flow is not None and flow.needs_person):
        auth = ApiKeyMap(attach=auth.attach)
    if chat.poll_s is not None:
        chat = msgspec.structs.replace(chat, poll_s=_POLL_S)
    return msgspec.structs.replace(recipe, auth=auth, chat=chat)
