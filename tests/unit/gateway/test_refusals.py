"""The public form of an error: what a client of the gateway may read of it."""

from __future__ import annotations

import pytest

from berlin.errors import RequestRejectedError
from berlin.gateway.refusals import public

NAMES = ("10.0.0.7", "llm.corp.example", "//ollama", "ollama:11434", "acme-bot")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("see http://10.0.0.7:8080/v1?k=1 now", "see http://*** now"),
        ("at LLM.corp.example.", "at ***."),
        ("api.llm.corp.example:443", "api.***"),
        ("my-llm.corp.example", "my-llm.corp.example"),
        ("http://ollama/x and ollama:11434, with ollama", "http:*** and ***, with ollama"),
        ("no room for acme-bot", "no room for ***"),
        ("acme-bots and 10.0.0.70", "acme-bots and 10.0.0.70"),
        ("4096 tokens at most", "4096 tokens at most"),
    ],
)
def test_hosts_and_accounts_are_not_named(said: str, shown: str) -> None:
    """The service's words reach the client without its address and account, whole words only."""
    error = RequestRejectedError(said)
    error.names = NAMES[:2]
    cause = RequestRejectedError("x")
    cause.names = NAMES[2:]
    error.causes = (cause,)
    assert public(error).message == shown
    assert error.message == said  # for the log
    assert public(error).http_status == error.http_status
