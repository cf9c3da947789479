"""Turns a trial into a transcript that can be shared: all secrets are removed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from urllib.parse import quote

import msgspec

from berlin.errors import ConfigurationError
from berlin.language.secrets_scan import find_secrets
from berlin.types import ChatRequest, HttpRequest, Secret, mask
from berlin.types.masking import SHORTEST_CHARS
from berlin.wire.transcript import HIDDEN, Transcript, Turn
from berlin.workbench.draft.leaves import leaves
from berlin.workbench.trial import Trial, TriedTurn

_KEY = re.compile(r'("(?:[^"\\]|\\.)*"\s*:)')
_PLACEHOLDER = re.compile(r"\{[a-z0-9_]+\}")
# A password that is a plain word may also be a member's name; there it reveals nothing.
_WORD = re.compile(r"[a-z_]+")


def record(
    trial: Trial, request: ChatRequest, prompt: str, recipe: str, account: str = ""
) -> Transcript:
    """Return the transcript of a trial, without secrets.

    Args:
        recipe: the name of a shipped recipe, or the text of one.
        account: the account that logged in; removed like a secret.

    Raises:
        ConfigurationError: if the trial failed: there is nothing to compare with.
    """
    response = trial.response
    if response is None:
        raise ConfigurationError("there is no complete answer to record")
    secrets = [*trial.secrets, *((Secret(account),) if account else ())]
    usage = response.usage
    return Transcript(
        transcript=1,
        recipe=recipe if "\n" not in recipe else mask_recipe(recipe, secrets).splitlines(),
        source="recorded",
        messages=[{"role": "user", "content": mask(prompt, secrets)}],
        turns=[_turn(t, secrets) for t in trial.turns],
        text=mask(response.text, secrets),
        model=request.model,
        options=dict(request.options),
        reasoning=mask(response.reasoning, secrets),
        finish_reason=response.finish_reason,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
    )


def mask_recipe(text: str, secrets: Iterable[Secret]) -> str:
    """Return the text of a recipe without the secrets of a trial or what looks like one."""
    values = [value for _, value in leaves(tomllib.loads(text)) if isinstance(value, str)]
    literals = [_PLACEHOLDER.sub("", value) for value in values]
    comments = [line.partition("#")[2] for line in text.splitlines()]
    written = [*literals, *comments]
    # Only literal values: `password = "{password}"` stays, whatever the password is.
    secrets_used = [s for s in secrets if any(s.reveal() in place for place in written)]
    return mask(text, [*(found.value for found in find_secrets(text)), *secrets_used])


def mask_body(body: bytes, secrets: Iterable[Secret]) -> bytes:
    """Return a body without secrets. Names in its JSON stay unless they are secrets."""
    secrets = list(secrets)
    try:
        return _mask_values(body.decode(), secrets).encode()
    except UnicodeDecodeError:
        return _mask_values(body.decode("latin-1"), secrets).encode("latin-1", "replace")


def mask_short(body: bytes, secrets: list[Secret]) -> bytes:
    """Return a login's body without credentials too short to search for everywhere.

    They are removed where they are a whole value: of JSON, of a form, of a multipart field.
    """
    for clear in (secret.reveal() for secret in secrets):
        if 0 < len(clear) < SHORTEST_CHARS:
            value = re.escape(clear.encode())
            whole = rb'(?<=")%b(?="(?!\s*:))|(?<==)%b(?=&|$)|(?<=\n)%b(?=\r\n)'
            body = re.sub(whole % (value, value, value), HIDDEN.encode(), body)
    return body


def _mask_values(text: str, secrets: list[Secret]) -> str:
    in_names = [s for s in secrets if not _WORD.fullmatch(s.reveal())]
    pieces = _KEY.split(text)
    pieces[::2] = [mask(piece, secrets) for piece in pieces[::2]]
    pieces[1::2] = [mask(name, in_names) for name in pieces[1::2]]
    return "".join(pieces)


def _turn(tried: TriedTurn, secrets: list[Secret]) -> Turn:
    request, answer, is_login = tried.request, tried.answer, tried.part.is_login

    def clean(values: Mapping[str, str | Secret]) -> dict[str, str | Secret]:
        return {n: v if isinstance(v, Secret) else mask(v, secrets) for n, v in values.items()}

    sent = HttpRequest(
        request.method,
        # As it is encoded in a path on replay.
        mask(request.path, secrets).replace(HIDDEN, quote(HIDDEN, safe="")),
        clean(request.headers),
        clean(request.query),
        mask_body(mask_short(request.body, secrets) if is_login else request.body, secrets),
    )
    headers = {name: mask(value, secrets) for name, value in answer.headers.items()}
    came = msgspec.structs.replace(answer, headers=headers, body=mask_body(answer.body, secrets))
    return Turn.of(sent, came)
