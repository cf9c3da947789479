"""Builds the provider that a recipe describes.

Separate from the recipe itself, because reading one needs no HTTP client.
"""

from __future__ import annotations

from collections.abc import Callable

from berlin._version import __version__
from berlin.auth.authenticator import Authenticator, ServiceLogin
from berlin.auth.callers import CallerAuthenticator, Callers
from berlin.auth.credentials import Credentials
from berlin.auth.tokens.registry import shared_source
from berlin.auth.tokens.shared import SharedTokens
from berlin.auth.tokens.source import TokenSource
from berlin.auth.tokens.store import TokenKey
from berlin.providers.http import HttpProvider
from berlin.recipes.recipe import Recipe
from berlin.transport import Sender, Transport
from berlin.types import Endpoint, Secret, Timeouts

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
        credentials: the credentials for the login.
        timeouts: the limits of requests that set none.
        shared: a token store besides this process.
        record: wraps the sender of the requests.
        name: the provider's name in the configuration, for messages.
    """
    who = credentials.who if credentials else ""
    fingerprint = credentials.fingerprint() if credentials else ""
    key = TokenKey(recipe.name, endpoint.url, who, fingerprint)
    described = recipe.auth
    anonymous = recipe.login_is_optional and not (credentials and credentials.names)
    flow = None if anonymous else described.flow()
    if flow is None or not flow.asks:
        shared = None  # a key or a password is not a token: it is never written anywhere
    login = ServiceLogin(
        flow, described.attach, described.rejected_statuses, recipe.environment, endpoint.url, name
    )
    auth = Authenticator(login, credentials, shared_source(key, shared))
    transport = record(Transport(endpoint, USER_AGENT))
    return HttpProvider(recipe.name, transport, auth, recipe.format(), timeouts), auth


def build_callers(
    recipe: Recipe, credentials: Credentials, own: Authenticator, shared: SharedTokens | None
) -> Callers:
    """Return the authenticators of the callers on whose behalf requests are sent.

    Args:
        credentials: the credentials, of which one is the token of each caller.
        own: the authenticator of the provider itself, which observes each login.
        shared: a token store besides this process. It is used if it forgets by itself: there may
            be very many callers.
    """
    shared = shared if shared is not None and shared.store.forgets else None

    def make(token: Secret) -> CallerAuthenticator:
        theirs = credentials.on_behalf_of(token)
        # The key covers the whole token of the caller, so two callers never share one of ours.
        key = TokenKey(recipe.name, own.login.url, "", theirs.fingerprint())
        made = CallerAuthenticator(own.login, theirs, TokenSource(key, shared))
        made.observe = lambda result: own.observe(result)
        return made

    return Callers(make)
