"""`berlin recipe check` and `try` tell the truth: nothing is said in vain, and hints fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from berlin.recipes.recipe import load_recipe, recipe_names
from berlin.workbench.diagnose import find_unused
from support.cli import Cli
from support.site import open_site

HEAD = 'schema = 1\nname = "r"\ndescription = "A service"\n[endpoint]\nurl = "{url}"\n'
CHAT = '[chat]\npath = "/chat"\n'
STREAM = '[chat.stream]\nframing = "ndjson"\ntext = "/content"\n'


def recipe(tmp_path: Path, rest: str, url: str = "http://127.0.0.1:9") -> str:
    file = tmp_path / "r.toml"
    file.write_text(HEAD.format(url=url) + rest)
    return str(file)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (
            CHAT
            + 'json = { q = "{prompt}", m = "{messages}" }\nmessages = { form = "array" }\n'
            + STREAM,
            "(chat.json): {prompt} has no value with messages.form",
        ),
        (
            CHAT + 'multipart = { data = \'{"q": "{prompt}"}\' }\n' + STREAM,
            "(chat.multipart.data): a quote in the prompt breaks the JSON",
        ),
    ],
)
async def test_what_is_said_in_vain_is_an_error(tmp_path: Path, rest: str, said: str) -> None:
    """What a recipe says and no request uses is an error of `check`, with line and key."""
    ended = await Cli(tmp_path).run("recipe", "check", recipe(tmp_path, rest))
    assert ended.code == 2
    assert said in ended.err
    assert "no mistakes found" not in ended.out


async def test_json_in_a_field_can_be_written_right(tmp_path: Path) -> None:
    """With the function that is proposed, a quote in the prompt does no harm."""
    rest = CHAT + "multipart = { data = '{\"q\": {json:{prompt}}}' }\n" + STREAM
    ended = await Cli(tmp_path).run("recipe", "check", recipe(tmp_path, rest), 'say "hi"')
    assert ended.code == 0, ended.err
    assert '{"q": "say \\"hi\\""}' in ended.out


@pytest.mark.parametrize("name", recipe_names())
def test_no_shipped_recipe_says_anything_in_vain(name: str) -> None:
    """The recipes that come with Berlin are used to the last key."""
    assert find_unused(load_recipe(name)) == []


def lines(*documents: object) -> str:
    return "".join(json.dumps(document) + "\n" for document in documents)


@pytest.mark.parametrize(
    ("stream", "kind", "body", "said"),
    [
        (
            'framing = "ndjson"\ntext = "/content"\n',
            "application/x-ndjson",
            lines(*({"content": "You said hi"[:n]} for n in (3, 8, 11))),
            "(chat.stream.text_is): each piece begins with the whole of the one before: write "
            'text_is = "cumulative"',
        ),
        (
            'framing = "sse"\ntext = "/text"\nerror = "/error"\n',
            "text/event-stream",
            'event: delta\ndata: {"text": "Hi"}\n\nevent: end\ndata: {"error": {}}\n\n',
            'framing = "sse-events"',
        ),
        (
            'framing = "ndjson"\ntext = "/txt"\nkind = "/type"\nkinds = { piece = "text" }\n',
            "application/x-ndjson",
            lines({"type": "piece", "content": "Hello to"}, {"type": "piece", "content": " you"}),
            "(chat.stream.text): objects of the kinds for text came, with nothing at /txt, "
            "but text at /content",
        ),
        (
            'framing = "ndjson"\ntext = "/piece"\nends = "body"\n',
            "application/x-ndjson",
            lines({"type": "status", "piece": "thinking"}, {"type": "delta", "piece": "Hi"}),
            "(chat.stream.kind): objects of several kinds have text (status, delta). If only one "
            'is the answer, write kind = "/type" and kinds = { delta = "text" }',
        ),
    ],
    ids=["cumulative", "named events", "text of kinds", "several kinds"],
)
async def test_try_names_the_likely_line(
    tmp_path: Path, stream: str, kind: str, body: str, said: str
) -> None:
    """What `try` sees and cannot use is shown with the line that is likely wrong."""
    reply = web.Response(text=body, content_type=kind)
    async with open_site(**{"/chat": reply}) as site:
        rest = CHAT + 'json = { q = "{prompt}" }\n[chat.stream]\n' + stream
        ended = await Cli(tmp_path).run("recipe", "try", recipe(tmp_path, rest, site.url), "hi")
    assert said in ended.out


async def test_try_shows_the_last_object(tmp_path: Path) -> None:
    """Of many objects the first three and the last are shown: the end is in the last."""
    body = lines(*({"content": f"{n} "} for n in range(9)), {"content": "", "done": "stop"})
    reply = web.Response(text=body, content_type="application/x-ndjson")
    async with open_site(**{"/chat": reply}) as site:
        rest = CHAT + 'json = { q = "{prompt}" }\n' + STREAM
        ended = await Cli(tmp_path).run("recipe", "try", recipe(tmp_path, rest, site.url), "hi")
    assert "object 3 of 10:" in ended.out
    assert "object 4 of 10:" not in ended.out
    assert "object 10 of 10:" in ended.out
