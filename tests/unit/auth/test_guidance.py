"""What a user is told whose credentials are missing."""

from __future__ import annotations

import pytest

from berlin.auth.guidance import explain_missing

LOGIN = ["account", "password"]
VENDOR = {"api_key": "OPENAI_API_KEY"}


@pytest.mark.parametrize(
    ("missing", "variables", "name", "environment", "command"),
    [
        (LOGIN, {}, "berlin", "(BERLIN_ACCOUNT, BERLIN_PASSWORD)", "`berlin login`"),
        (LOGIN, {}, "", "(BERLIN_ACCOUNT, BERLIN_PASSWORD)", "`berlin login`"),
        (LOGIN, {}, "work", "", "`berlin login work`"),
        (["api_key"], VENDOR, "openai", "(OPENAI_API_KEY)", "`berlin login openai`"),
        (["api_key"], VENDOR, "berlin", "(OPENAI_API_KEY)", "`berlin login`"),
        (["client_id", "api_key"], VENDOR, "work", "", "`berlin login work`"),
    ],
)
def test_only_variables_that_count_are_offered(
    missing: list[str], variables: dict[str, str], name: str, environment: str, command: str
) -> None:
    """`BERLIN_ACCOUNT` is offered for the provider `berlin` only, whose credentials it holds."""
    said = explain_missing(missing, variables, name)
    assert f"in the environment {environment}" in said if environment else "environ" not in said
    assert said.endswith(f"in the configuration file, or with {command}")
    assert all(f"{key}=…" in said for key in missing)
