"""A trial as readable text: requests, responses and the values found, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from berlin.language.secrets_scan import looks_secret
from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import Recipe
from berlin.types import Secret, mask
from berlin.types.masking import CUT
from berlin.wire.pointer import MISSING
from berlin.workbench.parts import POINTERS, documents, found_at, in_words, listed
from berlin.workbench.recording import mask_body, mask_short
from berlin.workbench.trial import Trial, TriedTurn

LONGEST_BODY = 1_500
LONGEST_VALUE = 80
FIRST_DOCUMENTS = 3

_ALWAYS_SECRET = ("authorization", "cookie", "proxy-authorization")


def describe_turn(turn: TriedTurn, recipe: Recipe, base_url: str, secrets: Iterable[Secret]) -> str:
    """Return one request of a trial, its answer, and what the recipe finds in it: no secrets."""
    secrets = list(secrets)
    request, answer = turn.request, turn.answer
    url = request.path if "://" in request.path else base_url + request.path
    query = "&".join(f"{n}={_shown(n, v, secrets)}" for n, v in request.query.items())
    sent = mask_short(request.body, secrets) if turn.part.is_login else request.body
    lines = [
        turn.part.title.capitalize(),
        f"  -> {request.method} {mask(url, secrets)}{'?' if query else ''}{query}",
        *(
            f"     {name}: {_shown(name, value, secrets)}"
            for name, value in request.headers.items()
        ),
        *_body(sent, secrets),
        f"  <- {answer.status}, {turn.at:.2f} s after the beginning",
        *(f"     {name}: {_shown(name, value, secrets)}" for name, value in answer.headers.items()),
        *(f"     sets the cookie {name}=***" for name in answer.cookies),
        *_body(answer.body, secrets),
        *(f"     {line}" for line in _found(turn, recipe, secrets)),
    ]
    return "\n".join(lines)


def describe_answer(trial: Trial) -> str:
    """Return the result of a trial: text, finish reason, usage and times."""
    secrets = trial.secrets
    lines = []
    if trial.reasoning:
        lines.append(f"Reasoning: {mask(trial.reasoning, secrets)}")
    lines.append(f"Text: {mask(trial.text, secrets)}" if trial.text else "No text came")
    response = trial.response
    if response is not None:
        lines.append(f"Finish reason: {response.finish_reason}")
        usage = response.usage
        if usage is None:
            lines.append("Usage: the service reports none")
        else:
            lines.append(f"Usage: {usage.input_tokens} tokens in, {usage.output_tokens} out")
        ids = {name: getattr(response, name) for name in ("conversation_id", "message_id")}
        lines += [f"{name}: {mask(value, secrets)}" for name, value in ids.items() if value]
    first = "" if trial.first_text_at is None else f"first text after {trial.first_text_at:.2f} s, "
    lines.append(f"Time: {first}all in {trial.seconds:.2f} s")
    return "\n".join(lines)


def _found(turn: TriedTurn, recipe: Recipe, secrets: list[Secret]) -> Iterator[str]:
    for name, value in turn.taken.items():
        where = in_words(turn.part.step.take[name])
        yield f"takes {name}: {where} -> {_value(value, secrets)}"
    if turn.part.place != ("chat",) or not 200 <= turn.answer.status < 300:
        return
    stream = recipe.chat.described_stream
    if stream is None:
        return
    received = documents(stream, turn.answer.body)
    shown = [*range(min(FIRST_DOCUMENTS, len(received)))]
    # The finish reason is in the last object of an answer.
    shown += [len(received) - 1] if len(received) > FIRST_DOCUMENTS else []
    for n in shown:
        document = received[n]
        yield f"object {n + 1} of {len(received)}:"
        for key in POINTERS:
            yield from (f"  {line}" for line in _pointed(stream, key, document, secrets))


def _pointed(stream: StreamMap, key: str, document: Any, secrets: list[Secret]) -> Iterator[str]:
    pointers = getattr(stream, key) or []
    if key == "text" and not pointers:
        pointers = "/data"
    for pointer in listed(pointers):
        value = found_at(pointer, document)
        yield f"{key}: {pointer} -> {_value(value, secrets)}"


def _value(value: Any, secrets: list[Secret]) -> str:
    if value is MISSING or value is None:
        return "nothing"
    text = mask(json.dumps(value, ensure_ascii=False), secrets)
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + CUT


def _shown(name: str, value: str | Secret, secrets: list[Secret]) -> str:
    """Return a header or a parameter, masked unless it is known to be harmless."""
    clear = value.reveal() if isinstance(value, Secret) else value
    masked = mask(clear, secrets)
    if masked == clear and (name.lower() in _ALWAYS_SECRET or looks_secret(name, clear)):
        return "***"
    return masked


def _body(body: bytes, secrets: list[Secret]) -> Iterator[str]:
    text = mask_body(body, secrets).decode("utf-8", "replace")
    more = f"{CUT} ({len(text) - LONGEST_BODY} more characters)" if len(text) > LONGEST_BODY else ""
    yield from (f"     {line}" for line in (text[:LONGEST_BODY] + more).splitlines())
