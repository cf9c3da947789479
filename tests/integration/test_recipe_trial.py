"""Each shipped recipe is tried against the service that it describes, recorded and replayed."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest

from berlin.auth.credentials import Credentials
from berlin.providers.scripted import ScriptedProvider
from berlin.recipes.recipe import load_recipe, recipe_names, resolve_endpoint
from berlin.types import ChatRequest, Finished, Secret, Timeouts
from berlin.wire.transcript import decode_transcript, encode_transcript
from berlin.workbench.diagnose import diagnose
from berlin.workbench.draft.toml_writer import recipe_tree, write_toml
from berlin.workbench.fake import CREDENTIALS, open_fake, redirect
from berlin.workbench.recording import record
from berlin.workbench.replay import difference, replay
from berlin.workbench.trial import Trial
from berlin.workbench.trial_report import describe_answer, describe_turn
from support.recipes import unattended

PROMPT = "What is Berlin?"
SHORT = msgspec.structs.replace(CREDENTIALS, account="al", password=Secret("pw"))


async def try_and_record(name: str, credentials: Credentials) -> tuple[str, str]:
    """Return what is shown of a trial, and its transcript, after playing that again."""
    recipe, request = unattended(load_recipe(name)), ChatRequest.of(PROMPT)
    async with open_fake(
        recipe, ScriptedProvider(["You asked: ", PROMPT, Finished()]), credentials
    ) as url:
        parts = urlsplit(url)
        moved = redirect(recipe, f"{parts.scheme}://{parts.netloc}")
        endpoint = resolve_endpoint(msgspec.structs.replace(moved.endpoint, url=url))
        trial = Trial(moved, endpoint, credentials, Timeouts())
        await trial.run(request)
    assert trial.error is None
    assert diagnose(moved, trial.turns, None) == []
    text = write_toml(recipe_tree(moved))
    recorded = encode_transcript(record(trial, request, PROMPT, text, credentials.who))
    transcript = decode_transcript(recorded, "recorded")
    assert difference(transcript, await replay(transcript)) is None
    shown = [describe_turn(turn, moved, url, trial.secrets) for turn in trial.turns]
    tokens = [secret.reveal() for secret in trial.secrets if len(secret.reveal()) > 5]
    texts = ("\n".join([*shown, describe_answer(trial)]), recorded.decode())
    assert not [token for token in tokens for text in texts if token in text]
    return texts


@pytest.mark.parametrize("name", recipe_names())
async def test_s01_a_trial_and_its_record_hold_no_secret(name: str) -> None:
    """The trial goes well, no token or password shows, and the record leads to the same answer."""
    shown, _ = await try_and_record(name, CREDENTIALS)
    assert PROMPT in shown
    assert "Finish reason: stop" in shown


async def test_s01_credentials_that_are_too_short_to_be_looked_for() -> None:
    """A password of two letters is taken out of the login all the same."""
    shown, recorded = await try_and_record("berlin", SHORT)
    assert '"password":"***"' in shown
    assert '"al"' not in recorded
    assert '"pw"' not in recorded
