"""Every recipe that comes with Berlin, with its transcript, played again at every cut."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from berlin.recipes.recipe import load_recipe, recipe_names
from berlin.types import ChatResponse
from berlin.workbench.replay import difference, replay
from support.transcripts import TRANSCRIPTS, byte_by_byte, read, transcript_of

ROOT = Path(__file__).parents[2]
TRIED = ("not tried live", "run against the real service: ")
NAMES = recipe_names()
# Its service says nothing at the end that an answer could lack.
WITHOUT_AN_END = {"berlin", "langgraph", "n8n"}


def test_each_recipe_has_a_transcript_and_a_row() -> None:
    """No recipe is without a transcript or a row in the documentation, and the other way round."""
    page = (ROOT / "docs" / "recipes-shipped.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)
    assert sorted(file.stem for file in TRANSCRIPTS.glob("*.json")) == NAMES
    assert rows == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name: str) -> None:
    """A recipe has its file's name, a line for people, and models that it lists itself."""
    recipe = load_recipe(name)
    models = recipe.models
    assert recipe.name == name
    assert recipe.description
    assert "\n" not in recipe.description + recipe.source
    assert models.default in ("", *models.list) or name == "berlin"
    assert len(set(models.list)) == len(models.list)
    assert len(set(models.capabilities)) == len(models.capabilities)
    if recipe.chat.format == "described":
        assert not set(models.capabilities) - {"reasoning"}, "described formats carry text only"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "berlin"])
def test_how_it_was_tried_is_told_alike(name: str) -> None:
    """The recipe and the row in the documentation agree on how it was tried."""
    source = load_recipe(name).source
    assert sum(word in source for word in TRIED) == 1
    page = (ROOT / "docs" / "recipes-shipped.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    recorded = transcript_of(name).source.startswith("recorded on ")
    assert (TRIED[1] in source) == row.endswith("| real service |")
    assert not recorded or TRIED[1] in source


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [lambda body: [body], byte_by_byte], ids=["whole", "bytes"])
async def test_gives_the_recorded_answer(name: str, cut: object) -> None:
    """Login, request and answer are those of the transcript, whatever the reads look like."""
    transcript = transcript_of(name)
    assert transcript.recipe == name
    assert transcript.text
    response = await replay(transcript, cut)
    assert difference(transcript, response) is None


@pytest.mark.parametrize("name", NAMES)
def test_at_every_cut_the_same(name: str) -> None:
    """An answer that comes in two reads is the same wherever the cut is."""
    transcript, format = transcript_of(name), load_recipe(name).format()
    body = transcript.turns[-1].answer_body
    for n in range(len(body) + 1):
        response = read(format, body[:n], body[n:])
        assert isinstance(response, ChatResponse), (n, response)
        assert difference(transcript, response) is None, n


@pytest.mark.parametrize("name", sorted(set(NAMES) - WITHOUT_AN_END))
def test_no_answer_that_broke_off_passes_for_whole(name: str) -> None:
    """Whatever is missing at the end: it is an error, or the text and its end were there."""
    transcript, format = transcript_of(name), load_recipe(name).format()
    body = transcript.turns[-1].answer_body
    failed = 0
    for n in range(len(body)):
        response = read(format, body[:n])
        if isinstance(response, ChatResponse):
            assert response.text == transcript.text, n
            assert response.finish_reason == transcript.finish_reason, n
        else:
            failed += 1
    assert failed > len(body) / 3


def test_a_refusal_of_anythingllm_is_a_whole_answer() -> None:
    """It comes as one object that closes the stream, without the usual last event."""
    line = b'data: {"type":"textResponse","textResponse":"No information","close":true}\n\n'
    response = read(load_recipe("anythingllm").format(), line)
    assert isinstance(response, ChatResponse)
    assert (response.text, response.finish_reason) == ("No information", "stop")


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_in_the_transcript(name: str) -> None:
    """What a login sends and gets is hidden."""
    transcript = transcript_of(name)
    for turn in transcript.turns:
        hidden = {n: v for n, v in turn.headers.items() if n not in ("Accept", "Content-Type")}
        hidden.pop("anthropic-version", None)
        assert set(hidden.values()) <= {"***"}, hidden
        assert set(turn.cookies.values()) <= {"***"}
    for turn in transcript.turns[: len(getattr(load_recipe(name).auth, "steps", ()))]:
        assert re.findall(r"password\W+(\w+)", "".join(turn.body)) == []


@pytest.mark.parametrize("name", NAMES)
def test_extends_comes_to_an_end(name: str) -> None:
    """Shipped recipes extend shipped ones, and none of them itself."""
    seen = [name]
    while base := load_recipe(seen[-1]).extends:
        assert base in NAMES
        assert base not in seen
        seen.append(base)
