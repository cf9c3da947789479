"""Opens a provider by name: from a recipe, from the user's own class, or the guide."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.contract import Person
from berlin.config import (
    Config,
    ModelOffer,
    Overrides,
    Settings,
    find_model,
    find_provider,
    resolve_settings,
)
from berlin.config.classes import make_of_class
from berlin.config.compose import compose
from berlin.config.tables.per_user import PLACEHOLDER, for_user, is_per_user
from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.language.tables.models import EmbeddingsMap
from berlin.providers.contract import Burst, Bursts, Provider
from berlin.providers.embeddings import Embedder, embed
from berlin.providers.facade import ChatProvider
from berlin.providers.on_behalf import OnBehalf
from berlin.recipes.build import build_callers, build_provider
from berlin.routing.health import Health
from berlin.routing.retry import ATTEMPTS, Retry
from berlin.types import ChatRequest, Secret, Started, Timeouts
from berlin.types.embeddings import EmbeddingRequest, Embeddings


def open_provider(
    name: str,
    config: Config,
    given: Overrides = Overrides(),  # noqa: B008  # frozen
    max_retries: int | None = None,
    settings: Settings | None = None,
) -> ChatProvider:
    """Return a provider of a configuration by its name.

    A composed provider opens its parts with this function.

    Args:
        given: settings that take precedence over the configuration.
        max_retries: how often a request that failed before its first event is sent again.
        settings: its settings, if they are resolved already.

    Raises:
        ConfigurationError: if there is none with that name, or its settings are invalid.
    """
    if name in config.models:
        _refuse_settings(name, given, max_retries)
        return _open_model(name, config)
    mine = find_provider(name, config)
    if is_per_user(mine):
        raise ConfigurationError(
            f"{name} is used with the login of each user ({PLACEHOLDER} in its credentials), which "
            "only `berlin serve` knows, by the key that asks"
        )
    limit = _limit_of(name, config) if mine.limit is not None else None
    if mine.class_ is not None:
        _refuse_settings(name, given, max_retries)
        provider = make_of_class(name, mine.class_, mine.options)
        return provider if limit is None else limit(provider)
    settings = settings or resolve_settings(name, config, given)
    return RecipeProvider(settings, max_retries, limit)


def open_users(name: str, config: Config) -> Retry:
    """Return the providers of all users of a service, each with the user's own login."""
    from berlin.routing.per_user import PerUser

    table = msgspec.structs.replace(find_provider(name, config), limit=None)

    def make(user: str) -> Provider:
        providers = {**config.providers, name: for_user(table, user)}
        mine = msgspec.structs.replace(config, providers=providers)
        return without_retries(open_provider(name, mine))

    return Retry(PerUser(name, make))


def _limit_of(name: str, config: Config) -> Callable[[Provider], ChatProvider]:
    """Return a function that wraps a provider in the limits of its table."""
    from berlin.config.models.routes import Routes
    from berlin.config.models.shared import open_counters, open_shared
    from berlin.routing.limit import Limit
    from berlin.routing.shared.closing import closing_with

    counters = open_counters(config.shared, open_shared(config.shared))
    limits = Routes(config, lambda _: open_provider(name, config), None, counters).limits(name)
    return lambda provider: closing_with(Limit(provider, limits), counters)


def _open_model(name: str, config: Config) -> ChatProvider:
    """Return a model composed of several providers."""
    # The wrappers are imported only if there are such models.
    from berlin.config.models.routes import Routes
    from berlin.config.models.shared import open_counters, open_shared
    from berlin.routing.shared.closing import closing_with

    opened: dict[str, Provider] = {}

    def open_once(name: str) -> Provider:
        if name not in opened:
            opened[name] = without_retries(open_provider(name, config))
        return opened[name]

    shared = open_shared(config.shared)
    counters = open_counters(config.shared, shared)
    return closing_with(Routes(config, open_once, shared, counters).open(name), counters)


def without_retries(provider: Provider) -> Provider:
    """Return a provider for wrappers that do their own retries and limits; it shares all state."""
    if isinstance(provider, RecipeProvider):
        return provider.once()
    from berlin.routing.limit import Limit
    from berlin.routing.shared.closing import WithShared

    while isinstance(provider, WithShared | Limit | Retry):
        provider = provider.inner
    return provider


def _refuse_settings(name: str, given: Overrides, max_retries: int | None) -> None:
    """Refuse settings that have no meaning for a provider without a recipe."""
    named = [key for key, value in msgspec.structs.asdict(given).items() if value is not None]
    named += ["max_retries"] if max_retries is not None else []
    for key in named:
        if key not in ("model", "last_url"):
            key = "timeout" if key == "timeouts" else key
            raise ConfigurationError(
                f"the provider {name} takes no {key}: only one with a recipe does"
            )


class RecipeProvider(ChatProvider):
    """The provider that a recipe describes, with its retries.

    Args:
        max_retries: how often a request is sent again that failed before the first event.
        limit: wraps what sends each attempt in the provider's limits.
    """

    def __init__(
        self,
        settings: Settings,
        max_retries: int | None = None,
        limit: Callable[[Provider], Provider] | None = None,
    ) -> None:
        if max_retries is not None and max_retries < 0:
            raise ConfigurationError("max_retries must be 0 or more")
        self.settings = settings
        self._http, self._auth = build_provider(
            settings.recipe,
            settings.endpoint,
            settings.credentials,
            settings.timeouts,
            settings.tokens,
            name=settings.name,
        )
        self._auth.hint = settings.hint
        attempts = ATTEMPTS if max_retries is None else max_retries + 1
        self._callers = self._open_callers()
        self._composed = compose(self._callers or self._http, settings)
        sending = self._composed if limit is None else limit(self._composed)
        self._retry = Retry(sending, settings.timeouts, attempts=attempts)
        self._health = Health(self._retry)
        described = settings.recipe.models
        default = settings.model or described.default
        default = described.aliases.get(default, default)
        self._offer = ModelOffer(described.list, default, described.aliases)
        self._default = default or next(iter(described.list), "")
        self._finding = asyncio.Lock()

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.settings.name

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return self.settings.timeouts

    @property
    def working(self) -> bool:
        """Whether the service works, as far as observed; `True` before the first request."""
        return self._health.working

    @property
    def default_model(self) -> str:
        """The model used when a request names none; `""` until it is known."""
        return self._default

    @property
    def token(self) -> Secret | None:
        """The current token."""
        return self._auth.source.token

    def use_token(self, token: str | None) -> None:
        """Use a token from elsewhere; `None` makes the next request log in."""
        self._auth.adopt(token)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `ChatProvider.bursts`."""
        model = self._own_name(request.model)
        if not model and self._lists_models:
            return _WithFirstModel(self, request)
        return self.send(request, model)

    def send(self, request: ChatRequest, model: str) -> Bursts:
        """Answer a request with this model."""
        if model != request.model:
            request = msgspec.structs.replace(request, model=model)
        return self._health.bursts(request)

    def once(self) -> RecipeProvider:
        """Return the same provider without retries and limits, with its connections and login."""
        twin = copy.copy(self)
        twin._retry = Retry(self._composed, self.settings.timeouts, attempts=1)
        twin._health = Health(twin._retry)
        return twin

    async def find_default(self) -> str:
        """Return the model to use when none is named: the first that the service lists.

        Raises:
            InvalidRequestError: if it lists none.
            BerlinError: if the service does not respond.
        """
        async with self._finding:
            if not self._default:
                listed = await self.models()
                if not listed:
                    raise InvalidRequestError.about(
                        "model",
                        f"{self.settings.name} has no default model and lists none; name one",
                    )
                self._default = listed[0]
        return self._default

    async def models(self) -> tuple[str, ...]:
        """Return the models, as listed by the service or by the recipe. Raises BerlinError."""
        described = self.settings.recipe.models
        if described.fetch is None:
            return described.list
        return await self._http.list_models(described.fetch)

    @property
    def embedder(self) -> Embedder | None:
        """The embedder; `None` if the recipe describes no embeddings."""
        described = self.settings.recipe.embeddings
        if described is None:
            return None
        return Embedder(partial(self._embed, described), described.models, described.model)

    async def check(self) -> None:
        """Log in, unless there is already a token. Raises BerlinError."""
        await self._http.check()

    async def access_token(self) -> AccessToken:
        """Return a valid token; a busy service is waited for. See `Berlin.token`."""
        return await self._retry.call(self._http.token)

    def reject_token(self, token: Secret) -> None:
        """Report a token that the service rejected, so that it is replaced."""
        self._auth.reject(token)

    async def log_in(self, person: Person | None) -> None:
        """Log in again, with a person if necessary; see `Berlin.log_in`."""
        await self._http.log_in(person)

    async def use_session(self, cookies: str) -> None:
        """Keep a browser's session instead of logging in; see `Berlin.use_session`."""
        await self._auth.use_session(cookies)

    def watch_logins(self, observe: Callable[[str], None]) -> None:
        """Call a function after each login from now on; see `ChatProvider.watch_logins`."""
        self._auth.observe = observe

    async def aclose(self) -> None:
        """Close the connections of the running loop. The next request opens new ones."""
        await self._health.aclose()

    @property
    def serves_callers(self) -> bool:
        """Whether requests are sent on behalf of their callers, with the token of each."""
        return self._callers is not None

    async def _embed(self, described: EmbeddingsMap, request: EmbeddingRequest) -> Embeddings:
        http = self._http if self._callers is None else self._callers.of(request.identity)
        return await embed(http, described, request)

    def _open_callers(self) -> OnBehalf | None:
        settings, credentials = self.settings, self.settings.credentials
        if credentials is None or not credentials.of_caller:
            return None
        callers = build_callers(settings.recipe, credentials, self._auth, settings.tokens)
        return OnBehalf(self._http, callers, settings.timeouts)

    @property
    def _lists_models(self) -> bool:
        return self.settings.recipe.models.fetch is not None

    def _own_name(self, model: str) -> str:
        """Return the service's name for a model that a request names; `""` if it is unknown."""
        if not model:
            return self._default
        known = find_model(self._offer, model)
        if known is None:
            return model  # services have more models than they list
        return known or self._default


class _WithFirstModel:
    """An answer by the default model of a service, which has to be looked up first."""

    def __init__(self, provider: RecipeProvider, request: ChatRequest) -> None:
        self._provider = provider
        self._request = request
        self._answer: Bursts | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Burst]:
        return self._begin() if self._answer is None else self._answer.__anext__()

    async def aclose(self) -> None:
        self._closed = True
        if self._answer is not None:
            await self._answer.aclose()

    async def _begin(self) -> Burst:
        if self._closed:
            raise StopAsyncIteration
        model = await self._provider.find_default()
        self._answer = self._provider.send(self._request, model)
        first = await self._answer.__anext__()
        if isinstance(first[0], Started):
            return first
        return [Started(self._provider.settings.name, model), *first]
