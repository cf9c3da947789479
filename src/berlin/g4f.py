"""The class-level interface for compatibility with g4f, separate from everything else.

A class works with a default account: `Berlin.create_async_generator(model, messages, proxy)`,
with `url`, `working` and `_token` as attributes of the class itself.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import aclosing
from typing import Any, ClassVar, Self, TypeAlias

from berlin.config import Overrides, Settings, load_config, resolve_settings
from berlin.errors import BerlinError
from berlin.providers.facade import ChatProvider
from berlin.types import Messages, Secret
from berlin.types.secret import hides_arguments

AsyncResult: TypeAlias = AsyncIterator[str]

# The URL the class uses when no other is configured. Commands never use it.
SEED_URL = "https://ai.berlin4h.top"

# The most settings (accounts, URLs, proxies) for which the class keeps connections.
MAX_DEFAULTS = 128


class AsyncGeneratorProvider(ChatProvider):
    """A provider whose class can be used without an instance."""

    url: ClassVar[str]
    working: ClassVar[bool]
    supports_gpt_35_turbo: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def provide(cls, proxy: str | Secret | None, settings: dict[str, Any]) -> Self:
        """Return the instance that answers for the class.

        Args:
            proxy: URL of a proxy.
            settings: the keyword arguments of a call; the provider's are removed.
        """

    @classmethod
    async def create_async_generator(
        cls,
        model: str | None,
        messages: Messages,
        proxy: str | Secret | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[str]:
        """Answer messages with text, piece by piece.

        Args:
            model: the service's name of the model; `""` or `None` is its default.
            messages: `[{"role": …, "content": …}, …]`, or a prompt.
            proxy: URL of an HTTP(S) or SOCKS proxy.
            **kwargs: options for the model such as `temperature`; also `timeout` (total seconds, or
            `Timeouts`), `account` and `password`.

        Raises:
            BerlinError: a `RuntimeError`, for all failures.
        """
        proxy = Secret(proxy) if isinstance(proxy, str) else proxy  # hidden in error reports
        provider = cls.provide(proxy, kwargs)
        async with aclosing(provider.text(messages, model=model, **kwargs)) as pieces:
            async for piece in pieces:
                yield piece


class SeedType(ABCMeta):
    """Gives a class the attributes of its default account.

    They are properties because they change with the environment, the first login and the last
    observed state of the service.
    """

    _class_url: str | None

    @property
    def url(cls) -> str:
        """The base URL that the class uses."""
        chosen = cls.chosen_url()
        if chosen is not None:
            return chosen
        try:
            given = Overrides(last_url=SEED_URL)
            return resolve_settings("berlin", load_config(), given).endpoint.url
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
        """Whether the service works, as far as observed."""
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

    def chosen_url(cls) -> str | None:
        """Return the URL that was assigned to the class or set by a subclass."""
        for klass in cls.__mro__:
            for name in ("_class_url", "url"):
                value = vars(klass).get(name)
                if isinstance(value, str):
                    return value
        return None

    def _default_or_none(cls) -> SeedProvider | None:
        try:
            return cls._default()
        except BerlinError:
            return None

    def _default(cls) -> SeedProvider:
        provider: SeedProvider = cls.provide(None, {})  # type: ignore[attr-defined]  # below
        return provider


class SeedProvider(AsyncGeneratorProvider, metaclass=SeedType):
    """A class that works with its default account, with one instance for each combination of
    settings.
    """

    supports_gpt_35_turbo = True

    _class_url: str | None = None
    _token: str | None
    _defaults: dict[Hashable, SeedProvider] = {}  # noqa: RUF012  # shared on purpose: see `provide`

    @classmethod
    @abstractmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return an instance for resolved settings."""

    @classmethod
    @hides_arguments
    def provide(cls, proxy: str | Secret | None, settings: dict[str, Any]) -> Self:
        """Return the shared object for these settings, so that connections and tokens are kept.

        `account` and `password` are removed from `settings`; `url` too, but only together with
        them: stored credentials are never sent to a URL given in a call.
        """
        account, password = settings.pop("account", None), settings.pop("password", None)
        named = settings.pop("url", None) if None not in (account, password) else None
        given = Overrides(
            url=named or cls.chosen_url(),
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
