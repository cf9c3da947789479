"""What is never sent as an option of a model."""

from __future__ import annotations

from typing import Any

import pytest

from berlin.errors import InvalidRequestError
from berlin.providers.echo import EchoProvider
from berlin.providers.reserved import check_names, check_values
from berlin.types import Secret


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("api_key", "Berlin(api_key=…)"),
        ("API-Key", "Berlin(api_key=…)"),
        ("openai_api_key", "Berlin(api_key=…)"),
        ("my_service_api_key", "a credential belongs to the provider"),
        ("client_secret", "Berlin(client_secret=…)"),
        ("refresh_token", "Berlin(refresh_token=…)"),
        ("password", "Berlin(password=…)"),
        ("db_password", "a credential belongs to the provider"),
        ("aws_secret", "a credential belongs to the provider"),
        ("access_token", "Berlin logs in itself"),
        ("token", "Berlin logs in itself"),
        ("authorization", "Berlin logs in itself"),
        ("base_url", "Berlin(url=…)"),
        ("api_base", "Berlin(url=…)"),
        ("url", "Berlin(url=…)"),
        ("proxy", "Berlin(proxy=…)"),
        ("headers", "Berlin(headers=…)"),
        ("extra_headers", "Berlin(headers=…)"),
        ("http_client", "Berlin(proxy=…"),
        ("max_retries", "Berlin(max_retries=…)"),
        ("timeouts", "it is called timeout"),
        ("extra_body", "as separate options"),
        ("prompt", "as the first argument"),
    ],
)
def test_a_reserved_name_says_where_the_value_belongs(name: str, where: str) -> None:
    """A credential, an address or a part of the protocol is refused, with its right place."""
    with pytest.raises(InvalidRequestError) as caught:
        check_names([name])
    assert caught.value.message.startswith(f"{name}: never sent as an option; ")
    assert where in caught.value.message
    assert caught.value.param == name


@pytest.mark.parametrize(
    "name",
    [
        *("temperature", "max_tokens", "stop", "seed", "user", "metadata", "top_k", "logit_bias"),
        *("stop_token_ids", "eos_token", "prompt_cache_key", "safe_prompt", "reasoning_effort"),
    ],
)
def test_options_of_models_pass(name: str) -> None:
    """Names that services know as options go on, whoever knows them."""
    check_names([name])


@pytest.mark.parametrize("method", ["ask_sync", "text_sync"])
@pytest.mark.parametrize("name", ["api_key", "base_url", "access_token"])
def test_every_provider_refuses_them(method: str, name: str) -> None:
    """The check is part of the facade, so that every provider and wrapper has it."""
    with pytest.raises(InvalidRequestError, match=name):
        list(getattr(EchoProvider(), method)("Hello", **{name: "secret"}))


@pytest.mark.parametrize(
    "value",
    [
        "the-secret",
        {"Authorization": "the-secret"},
        ["x", {"a": ("the-secret",)}],
    ],
)
def test_a_credential_is_found_by_its_value(value: Any) -> None:
    """An option that holds a credential of the provider is refused under any name; the error
    names the option, and not the value.
    """
    with pytest.raises(InvalidRequestError) as caught:
        check_values({"temperature": 1, "user": value}, [Secret("the-secret")])
    assert caught.value.param == "user"
    assert "the-secret" not in caught.value.message


def test_other_values_pass() -> None:
    """Text that is no credential passes, also deep in other values."""
    deep: Any = "text"
    for _ in range(1_000):
        deep = [deep]
    check_values({"a": "other", "b": 1, "c": None, "d": deep}, [Secret("the-secret")])
