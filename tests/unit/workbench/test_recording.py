"""A transcript holds no secret, and plays again all the same."""

from __future__ import annotations

from berlin.types import Secret
from berlin.workbench.recording import mask_body, mask_recipe

SECRETS = [Secret("tok-123456"), Secret("password")]

RECIPE = """schema = 1  # my token was tok-123456
[[auth.steps]]
json = { password = "{password}", app = "9f8d7s6a5f4g3h2j1k0l" }
"""


def test_a_weak_password_does_not_take_the_names_along() -> None:
    """The password "password" is taken out where it is a value, and the name stays."""
    body = b'{"password":"password","token":"tok-123456"}'
    assert mask_body(body, SECRETS) == b'{"password":"***","token":"***"}'


def test_a_token_that_is_a_name() -> None:
    """A token is taken out also where it is the name of a member."""
    assert b"tok-123456" not in mask_body(b'{"tok-123456": 1}', SECRETS)


def test_forms_and_events() -> None:
    """Other bodies are cleaned as text."""
    assert mask_body(b"user=ann&password=tok-123456", [SECRETS[0]]) == b"user=ann&password=***"
    assert mask_body(b'data: {"a":"tok-123456"}\n\n', SECRETS) == b'data: {"a":"***"}\n\n'


def test_bytes_that_are_no_text() -> None:
    """A secret between bytes that are no UTF-8 is taken out too."""
    assert mask_body(b"\xff\xfetok-123456\x80", SECRETS) == b"\xff\xfe***\x80"


def test_s01_a_recipe_without_its_secrets() -> None:
    """What is written out goes, in values and comments; placeholders stay."""
    masked = mask_recipe(RECIPE, SECRETS)
    assert "tok-123456" not in masked
    assert "9f8d7s6a5f4g3h2j1k0l" not in masked
    assert 'password = "{password}"' in masked
