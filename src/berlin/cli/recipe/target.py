"""The account and the URL for a trial of a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from berlin.auth.credentials import NAMES, Credentials
from berlin.cli.options import load_for_commands
from berlin.cli.provider.signing_in import ask_for, environ_without_users
from berlin.cli.recipe.file import RecipeFile
from berlin.cli.terminal import tell
from berlin.config import Overrides, provider_of_recipe, resolve_settings
from berlin.recipes.recipe import resolve_endpoint
from berlin.types import Endpoint, Timeouts


class TrialTarget(NamedTuple):
    """The requirements of a trial besides the recipe."""

    endpoint: Endpoint
    credentials: Credentials
    timeouts: Timeouts


def resolve_target(
    opened: RecipeFile,
    *,
    url: str | None = None,
    account: str | None = None,
    password_stdin: bool = False,
    allow_http: bool = False,
    timeout: float | None = None,
    config: Path | None = None,
) -> TrialTarget:
    """Return the service and the credentials: from the environment, a stored login, or by asking.

    Args:
        url: base URL of the service, instead of the recipe's.
        password_stdin: whether secrets are lines of standard input.
        allow_http: whether credentials may go over plain http.
        timeout: the limit of each part, in seconds.
        config: the configuration file, if not the user's.

    Raises:
        ConfigurationError: if an option or setting is not usable.
        click.UsageError: if there is no terminal to ask on.
    """
    config_of_user = load_for_commands(config)
    path = None if opened.path is None else str(opened.path.resolve())
    name = provider_of_recipe(opened.recipe, path, config_of_user)
    described = opened.recipe.endpoint
    timeouts = described.timeouts
    known: dict[str, str] = {}
    if name is None:
        moved = msgspec.structs.replace(described, url=url or described.url)
        endpoint = resolve_endpoint(moved, allow_http=allow_http)
    else:
        overrides = Overrides(url=url, allow_http=allow_http or None)
        settings = resolve_settings(name, config_of_user, overrides, environ_without_users())
        endpoint, timeouts = settings.endpoint, settings.timeouts
        known = settings.credentials.values() if settings.credentials else {}
    if timeout is not None:
        timeouts = Timeouts.of(timeout, timeouts)
    credentials = _credentials(opened, endpoint, known, account, password_stdin)
    return TrialTarget(endpoint, credentials, timeouts)


def _credentials(
    opened: RecipeFile,
    endpoint: Endpoint,
    known: dict[str, str],
    account: str | None,
    from_stdin: bool,
) -> Credentials:
    flow = opened.recipe.auth.flow()
    needs = flow.needs if flow is not None else ()
    places = [_environment(endpoint), known]
    mine = next((place for place in places if any(name in place for name in needs)), {})
    if account is not None and account != mine.get("account", account):
        mine = {}  # the password of another account
    values = {name: mine[name] for name in NAMES if name in mine}
    if account is not None and "account" in needs:
        values["account"] = account
    lacking = tuple(name for name in needs if name not in values)
    values |= ask_for(lacking, account, from_stdin, opened.recipe)
    return Credentials.checked("trial", **values) if values else Credentials()


def _environment(endpoint: Endpoint) -> dict[str, str]:
    """Return the credentials in the environment, unless they belong to another service."""
    url = os.environ.get("BERLIN_URL", "").rstrip("/")
    found = {n: v for n in NAMES if (v := os.environ.get(f"BERLIN_{n.upper()}"))}
    if found and url and url != endpoint.url:
        tell(
            f"BERLIN_{next(iter(found)).upper()} belongs to BERLIN_URL, "
            f"not to {endpoint.url}; it is ignored"
        )
        return {}
    return found
