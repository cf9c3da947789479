"""Mistakes in recipes: told with file, line and what is wrong, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin import errors
from support.described import LOGIN
from support.oauth_service import settings

STEPS = LOGIN.replace('attach = { header = "token" }\n', "")


TWO_STEPS = """
[auth]
flow = "login"

[[auth.steps]]
path = "/start"
method = "GET"
take = { nonce = "/nonce" }

[[auth.steps]]
path = "/login"
method = "PUT"
take = { token = "/token" }
"""


@pytest.mark.parametrize(
    ("auth", "line", "said"),
    [
        ('[auth]\nflow = "magic"\n', 9, "magic"),
        ('[auth]\nflow = "api-key"\nattach = { header = "A", query = "b" }\n', 10, "exactly one"),
        ('[auth]\nflow = "api-key"\nattach = {}\n', 10, "exactly one"),
        ('[auth]\nflow = "api-key"\nattach = { heder = "A" }\n', 10, "did you mean 'header'?"),
        (STEPS.replace("take = ", 'form = { a = "b" }\ntake = '), 9, "both json and form"),
        (STEPS.replace("token = ", "tken = "), 9, 'takes a "token"'),
        (STEPS.replace("{account}", "{acount}"), 9, "unknown placeholder {acount}"),
        (STEPS.replace('"/token"', '"token"'), 9, "is not a JSON Pointer"),
        (STEPS.replace('"/token"', "{}"), 15, "exactly one of pointer, header, cookie"),
        (TWO_STEPS.replace('"GET"', '"FETCH"'), 14, "FETCH"),
        (TWO_STEPS.replace('"PUT"', '"FETCH"'), 19, "FETCH"),
        (TWO_STEPS.replace("method", "methid", 1), 14, "did you mean 'method'?"),
        (
            STEPS.replace('"/token"', '{ header = "A", cookie = "b" }'),
            15,
            "exactly one of pointer, header, cookie",
        ),
        (STEPS.replace("take = ", "tak = "), 15, "did you mean 'take'?"),
        ('[auth]\nflow = "command"\ncommand = []\n', 8, "command is empty"),
        ('[auth]\nflow = "command"\ncommand = "gh auth token"\n', 10, "array"),
        (
            '[auth]\nflow = "oauth2"\ngrant = "device_code"\ntoken_url = "/t"\n',
            8,
            "needs device_url, or an issuer",
        ),
        ('[auth]\nflow = "oauth2"\ngrant = "implicit"\ntoken_url = "/t"\n', 10, "implicit"),
    ],
)
def test_recipe_mistakes(auth: str, line: int, said: str, tmp_path: Path) -> None:
    """A mistake in a recipe is told with the file, the line and what is wrong."""
    with pytest.raises(errors.ConfigurationError) as caught:
        settings(tmp_path, "http://127.0.0.1:1", auth)
    message = caught.value.message
    assert message.startswith(str(tmp_path / "tested.toml"))
    assert said in message
    assert f"line {line}" in message
