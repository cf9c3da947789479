"""Builds the provider that a recipe describes.

Separate from the recipe itself, because reading one needs no HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable

from berlin._version import __version__
from berlin.auth.contract import Authenticator
from berlin.auth.credentials import Credentials
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.sources import shared_source
from berlin.auth.tokens.store import TokenKey
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import Recipe
from berlin.transport import Sender, Transport
from berlin.types import Endpoint, Timeouts

USER_AGENT = f"berlin/{__version__}"


def build_provider(
    recipe: Recipe,
    endpoint: Endpoint,
    credentials: Credentials | None,
    timeouts: Timeouts,
    shared: SharedTokens | None = None,
    record: Callable[[Sender], Sender] = lambda sender: sender,
    name: str = "",
) -> tuple[HttpProvider, Authenticator]:
    """Return the provider that a recipe describes, and its authentication.

    Providers with the same recipe, URL, account and password share one token.

    Args:
        recipe: the description.
        endpoint: the service's endpoint.
        credentials: the credentials for the login.
        timeouts: the limits of requests that set none.
        shared: a token store besides this process.
        record: wraps the sender of the requests.
        name: the provider's name in the configuration, for messages.
    """
    chat = recipe.format()
    key = TokenKey(
        recipe.name,
        endpoint.url,
        credentials.who if credentials else "",
        credentials.fingerprint() if credentials else "",
    )
    described = recipe.auth
    flow = described.flow()
    if recipe.login_is_optional and not (credentials and credentials.values()):
        flow = None
    if flow is None or not flow.asks:
        shared = None  # a key or a password is not a token: it is never written anywhere
    auth = Authenticator(
        flow,
        described.attach,
        credentials,
        shared_source(key, shared),
        described.rejected_statuses,
        recipe.environment,
        endpoint.url,
        name,
    )
    transport = record(Transport(endpoint, USER_AGENT))
    return HttpProvider(recipe.name, transport, auth, chat, timeouts), auth
