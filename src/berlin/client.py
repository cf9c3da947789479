"""The class `Berlin`: a recipe with the facade that programs use."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Hashable
from typing import Any, NoReturn, Self

import msgspec

from berlin.auth.contract import Person
from berlin.config import (
    GUIDE,
    Config,
    Overrides,
    Settings,
    load_config,
    resolve_settings,
)
from berlin.config.compose import compose
from berlin.errors import BerlinError
from berlin.providers.contract import AsyncGeneratorProvider, Bursts, Provider
from berlin.recipes.build import build_provider
from berlin.routing.health import Health
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Secret, Timeouts

# Where the class finds its service when nobody names another address. Commands never use it.
SEED_URL = "https://ai.berlin4h.top"
# How many settings (accounts, URLs, proxies) the class keeps connections for at once.
MAX_DEFAULTS = 128


class _BerlinType(ABCMeta):
    """Gives the class itself the attributes of its default account.

    They are properties because they change: with the environment, with the first login, with
    what was last observed of the service.
    """

    _class_url: str | None

    @property
    def url(cls) -> str:
        """The base URL that the class uses."""
        chosen = cls._chosen_url()
        if chosen is not None:
            return chosen
        try:
            last = Overrides(last_url=SEED_URL)
            return resolve_settings("berlin", load_config(), last).endpoint.url
        except BerlinError:
            return SEED_URL

    @url.setter
    def url(cls, url: str) -> None:
        cls._class_url = url

    @url.deleter
    def url(cls) -> None:
        cls._class_url = None

    @property
    def working(cls) -> bool:
        """Whether the service works, as far as it was observed."""
        default = cls._default_or_none()
        return default.working if default is not None else True

    @property
    def _token(cls) -> str | None:
        default = cls._default_or_none()
        return default._token if default is not None else None

    @_token.setter
    def _token(cls, token: str | None) -> None:
        cls._default()._token = token

    @_token.deleter
    def _token(cls) -> None:
        cls._token = None

    def _default_or_none(cls) -> Berlin | None:
        try:
            return cls._default()
        except BerlinError:
            return None

    def _default(cls) -> Berlin:
        provider: Berlin = cls.provide(None, {})  # type: ignore[attr-defined]  # Berlin is the only one
        return provider

    def _chosen_url(cls) -> str | None:
        """Return the URL that was assigned to the class, or that a subclass names."""
        for klass in cls.__mro__:
            for name in ("_class_url", "url"):
                value = vars(klass).get(name)
                if isinstance(value, str):
                    return value
        return None


class Berlin(AsyncGeneratorProvider, metaclass=_BerlinType):
    """A chat service behind a login, as a stream of text.

    The class itself answers for the default account: `Berlin.create_async_generator(…)`. An
    object keeps a service, an account and connections of its own:

        async with Berlin(url=…, account=…, password=…) as berlin:
            async for piece in berlin.text("Hello"):
                print(piece, end="")

    What is not given comes from the environment (`BERLIN_URL`, `BERLIN_ACCOUNT`,
    `BERLIN_PASSWORD`, `BERLIN_PROXY`), the configuration file, or `berlin login`.

    Args:
        url: base URL of the service.
        account: the account to log in with.
        password: its password.
        proxy: URL of an HTTP, HTTPS or SOCKS proxy.
        timeouts: the four limits on time.
        ca_file: PEM file with the certificates to trust instead of the system's.
        allow_http: send credentials over plain http to another machine.

    Raises:
        ConfigurationError: if something given cannot be used. Nothing is sent yet.
    """

    supports_gpt_35_turbo = True

    _class_url: str | None = None
    _defaults: dict[Hashable, Berlin] = {}  # noqa: RUF012  # shared on purpose: see `provide`

    def __init__(
        self,
        url: str | None = None,
        account: str | None = None,
        password: str | Secret | None = None,
        *,
        proxy: str | Secret | None = None,
        timeouts: Timeouts | float | None = None,
        ca_file: str | None = None,
        allow_http: bool | None = None,
    ) -> None:
        given = Overrides(
            url=url or type(self)._chosen_url(),
            last_url=SEED_URL,
            account=account,
            password=password,
            proxy=proxy,
            ca_file=ca_file,
            allow_http=allow_http,
            timeouts=None if timeouts is None else Timeouts.of(timeouts, Timeouts()),
        )
        self._build(resolve_settings("berlin", load_config(), given))

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a provider for settings that were resolved before, of any recipe."""
        provider = cls.__new__(cls)
        provider._build(settings)
        return provider

    @classmethod
    def provide(cls, proxy: str | None, settings: dict[str, Any]) -> Self:
        """Return the shared object for these settings, so that connections and tokens are kept.

        `account` and `password` are taken out of `settings`; `url` too, but only beside them: the
        stored credentials never go to a URL that comes with a call.
        """
        account, password = settings.pop("account", None), settings.pop("password", None)
        chosen = settings.pop("url", None) if None not in (account, password) else None
        given = Overrides(
            url=chosen or cls._chosen_url(),
            account=account,
            password=password,
            proxy=proxy,
            last_url=SEED_URL,
        )
        resolved = resolve_settings("berlin", load_config(), given)
        known = cls._defaults.get(resolved.key)
        if not isinstance(known, cls):
            while len(cls._defaults) >= MAX_DEFAULTS:
                cls._defaults.pop(next(iter(cls._defaults)))
            known = cls._defaults[resolved.key] = cls.from_settings(resolved)
        return known

    def _build(self, settings: Settings) -> None:
        self._settings = settings
        self._provider, self._auth = build_provider(
            settings.recipe,
            settings.endpoint,
            settings.credentials,
            settings.timeouts,
            settings.tokens,
        )
        self._composed = compose(self._provider, settings)
        self._health = Health(Retry(self._composed, settings.timeouts))

    @property
    def url(self) -> str:  # type: ignore[override]  # the class has its own, see _BerlinType
        """The base URL of the service."""
        return self._settings.endpoint.url

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that bring none of their own."""
        return self._settings.timeouts

    @property
    def working(self) -> bool:  # type: ignore[override]  # as `url`
        """Whether the service works, as far as it was observed; `True` before the first request."""
        return self._health.working

    @property
    def _token(self) -> str | None:
        token = self._auth.source.token
        return token.reveal() if token is not None else None

    @_token.setter
    def _token(self, token: str | None) -> None:
        self._auth.adopt(token)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `AsyncGeneratorProvider.stream`."""
        if not request.model and self._settings.model:
            request = msgspec.structs.replace(request, model=self._settings.model)
        return self._health.bursts(request)

    @property
    def once(self) -> Provider:
        """The provider without its retries, for wrappers that decide when to ask again."""
        return _Once(self._composed, self._settings)

    def watch_logins(self, observe: Callable[[str], None]) -> None:
        """Tell of each login from now on: `ok`, or the code of the error."""
        self._auth.observe = observe

    async def check(self) -> None:
        """Log in, unless there is a token already.

        Raises:
            BerlinError: if that fails.
        """
        await self._provider.check()

    async def models(self) -> tuple[str, ...]:
        """Return the models that there are: as the service lists them, or as the recipe does.

        Raises:
            BerlinError: if the service does not tell.
        """
        described = self._settings.recipe.models
        if described.fetch is None:
            return described.list
        return await self._provider.list_models(described.fetch)

    async def log_in(self, person: Person | None) -> None:
        """Log in anew, also where that needs a person (a device code), and keep the token.

        Args:
            person: who takes part: types a code, or logs in in a browser.

        Raises:
            BerlinError: if that fails.
        """
        await self._provider.log_in(person)

    async def use_session(self, cookies: str) -> None:
        """Keep the session that a browser has, in place of a login.

        Args:
            cookies: the value of the browser's Cookie header.

        Raises:
            ConfigurationError: if the service's session is not a cookie, or is not among these.
        """
        await self._auth.use_session(cookies)

    async def aclose(self) -> None:
        """Close the connections of the running loop. Another request opens new ones."""
        await self._health.aclose()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a provider holds secrets and connections; make a new one instead of a copy"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.endpoint.url!r})"


class _Once:
    """A provider whose requests are sent once; its connections belong to another."""

    def __init__(self, inner: Provider, settings: Settings) -> None:
        self._inner = inner
        self._settings = settings

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that bring none of their own."""
        return self._settings.timeouts

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `Provider`."""
        if not request.model and self._settings.model:
            request = msgspec.structs.replace(request, model=self._settings.model)
        return self._inner.bursts(request)

    async def aclose(self) -> None:
        """Leave the connections to their owner."""


def build_named(name: str, config: Config) -> AsyncGeneratorProvider:
    """Return one provider of a configuration by its name. Raises ConfigurationError."""
    if name == GUIDE and name not in config.providers:
        from berlin.providers.guide import GuideProvider  # it loads SQLite

        return GuideProvider()
    return Berlin.from_settings(resolve_settings(name, config))
