"""Plays a transcript again: all is real but the network."""

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

# Between the questions to a service that is asked until it is ready; the least that there is.
_POLL_S = 0.05


def _in_one_read(body: bytes) -> Iterable[bytes]:
    return [body]


async def replay(
    transcript: Transcript, cut: Callable[[bytes], Iterable[bytes]] = _in_one_read
) -> ChatResponse:
    """Return the answer that a transcript's turns lead to now.

    Args:
        transcript: what was recorded.
        cut: cuts the body of an answer into the reads in which it comes.

    Raises:
        BerlinError: what the answer ends with; a ProtocolError if something else is sent than
            was recorded, or less.
        ConfigurationError: if there is no such recipe, or its lines are none.
    """
    sender = Replay(transcript.turns, cut)
    recipe = _without_side_effects(recipe_of(transcript))
    # A host of its own: a token that an earlier replay got would leave out the login.
    endpoint = Endpoint.of(f"https://{uuid.uuid4()}.invalid")
    credentials = Credentials.checked("the transcript", **dict.fromkeys(NAMES, HIDDEN))
    provider, _ = build_provider(recipe, endpoint, credentials, Timeouts(), record=lambda _: sender)
    request = ChatRequest(parse_messages(transcript.messages), transcript.model, transcript.options)
    response = await accumulate(event async for b in provider.bursts(request) for event in b)
    if sender.left:
        raise ProtocolError(f"the last {sender.left} turns of the transcript were not asked for")
    return response


def recipe_of(transcript: Transcript) -> Recipe:
    """Return the recipe that a transcript names or holds. Raises ConfigurationError."""
    if isinstance(transcript.recipe, str):
        return load_recipe(transcript.recipe)
    text = "\n".join(line.removesuffix("\n") for line in transcript.recipe)
    return parse_recipe(text, "the transcript's recipe")


def difference(transcript: Transcript, response: ChatResponse) -> str | None:
    """Return in words what differs from the recorded answer; `None` if nothing does."""
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
    """Return a recipe that waits for nothing and nobody, and starts no program."""
    auth, chat = recipe.auth, recipe.chat
    flow = auth.flow()
    if isinstance(auth, CommandMap) or (flow is not None and flow.needs_person):
        auth = ApiKeyMap(attach=auth.attach)
    if chat.poll_s is not None:
        chat = msgspec.structs.replace(chat, poll_s=_POLL_S)
    return msgspec.structs.replace(recipe, auth=auth, chat=chat)
