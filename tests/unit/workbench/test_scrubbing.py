"""One scrubber, by value and by name: drafts, records and recipes keep no secret."""

from __future__ import annotations

import pytest

from berlin.language.secrets_scan import find_marked, looks_secret, names_secret
from berlin.workbench.trial import _repeated_secrets

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDQU5BUkkifQ.CANARYSIGxxxxxxxxxxxx"


@pytest.mark.parametrize(
    "name",
    [
        *("password", "passwordConfirm", "password_confirm", "new-password", "PASSWORD2"),
        *("x-tenant-secret", "X-Amz-Security-Token", "otp", "userOtp", "auth_token", "jwt"),
        *("clientSecret", "x-api-key", "apikey", "session_cookie", "passcode"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """The last word of a name says what it is."""
    assert names_secret(name)
    assert looks_secret(name, "hunter2!")


@pytest.mark.parametrize(
    "name",
    [
        *("token_url", "token_type", "max_tokens", "input_tokens", "tokenizer", "tokens", "key"),
        *("secretary", "passwordless", "path", "content", "message", "id", ""),
    ],
)
def test_names_that_are_none(name: str) -> None:
    """Counts, kinds and addresses of tokens are no secrets."""
    assert not names_secret(name)


def test_tokens_that_a_stream_repeats() -> None:
    """By name and by form, in each line of an answer; pieces of text are no tokens."""
    text = (
        'data: {"content":"hi","auth_token":"CANARY-5566778899"}\n\n'
        f'data: {{"content":"you","jwt":"{JWT}"}}\n\n'
        'data: {"token":" internationalization","content":"x"}\n\n'
        'data: {"token":"Hello","text":"one two"}\n\n'
    )
    assert set(_repeated_secrets(text)) == {"CANARY-5566778899", JWT}
    assert find_marked(f"see {JWT}") == [JWT]
