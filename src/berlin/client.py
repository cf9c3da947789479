"""The class `Berlin`: any provider, by name, recipe or URL."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec

from berlin.auth.access import AccessToken
from berlin.auth.contract import Person
from berlin.auth.credentials import NAMES
from berlin.config import (
    Config,
    Overrides,
    ProviderConfig,
    Settings,
    default_of_file,
    load_config,
    model_names,
    resolve_recipe,
    settings_of,
)
from berlin.errors import ConfigurationError
from berlin.g4f import SEED_URL, SeedProvider
from berlin.opening import RecipeProvider, open_provider
from berlin.providers.contract import Bursts
from berlin.providers.facade import ChatProvider
from berlin.providers.request import Limits
from berlin.types import ChatRequest, Secret, Timeouts, nearest
from berlin.types.embeddings import EmbeddingRequest, vector_of
from berlin.types.secret import hides_arguments


class Berlin(SeedProvider):
    """A client of any chat service.

        Berlin("work")                            a provider of berlin.toml, or a shipped recipe
        Berlin("work:deep")                       one of its models
        Berlin(recipe="openai", api_key=…)        a shipped recipe, or your own file
        Berlin("https://…", "account", "password")    a service that speaks the Berlin protocol

        async with Berlin("work") as berlin:
            async for piece in berlin.text("Hello"):
                print(piece, end="")

    Without arguments it is the default provider of berlin.toml, or else the account in the
    environment or of `berlin login`. Missing credentials come from the environment, the
    configuration file, or `berlin login`.
    Creating an object sends nothing.

    The class itself works with the default account: `Berlin.create_async_generator(…)`.

    Args:
        service: a provider's name, `provider:model`, an alias, or the base URL of a service.
        account: the account to log in with.
        password: its password.
        recipe: the name of a shipped recipe, or the file (`….toml`) of another one.
        url: the base URL, instead of the recipe's.
        model: the model to use when a call names none.
        api_key: for a recipe with an API key.
        client_id: for a recipe with OAuth 2.0.
        client_secret: for a recipe with OAuth 2.0.
        refresh_token: an initial refresh token obtained elsewhere, for OAuth 2.0.
        private_key: for a recipe that signs: the key itself, as PEM.
        assertion: for a recipe that presents a token signed by a third party.
        totp_seed: for one-time codes: the seed for the authenticator app.
        timeout: total seconds, or the four limits as `Timeouts`.
        max_retries: how often a request that failed before its first event is sent again.
        headers: headers added to every request.
        proxy: URL of an HTTP, HTTPS or SOCKS proxy.
        ca_file: PEM file with the certificates to trust instead of the system's.
        client_cert: PEM file with the client certificate.
        client_key: PEM file with its key, if in a separate file.
        allow_http: allow credentials to go over plain http to another machine.
        config: the configuration file to read instead of the user's.

    Raises:
        ConfigurationError: if an argument is invalid. Nothing has been sent.
        ModelNotFoundError: if no provider or model has that name; the error suggests the nearest
            one.
    """

    @hides_arguments
    def __init__(
        self,
        service: str | None = None,
        account: str | None = None,
        password: str | Secret | None = None,
        *,
        recipe: str | Path | None = None,
        url: str | None = None,
        model: str | None = None,
        api_key: str | Secret | None = None,
        client_id: str | None = None,
        client_secret: str | Secret | None = None,
        refresh_token: str | Secret | None = None,
        private_key: str | Secret | None = None,
        assertion: str | Secret | None = None,
        totp_seed: str | Secret | None = None,
        timeout: Limits | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | Secret | None = None,
        ca_file: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        allow_http: bool | None = None,
        config: str | Path | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise ConfigurationError(_describe_unknown(next(iter(unknown))))
        if service is not None and "://" in service:
            if url is not None:
                raise ConfigurationError("the URL is given twice: as the first argument and as url")
            service, url = None, service
        given = Overrides(
            url=url,
            account=account,
            password=password,
            api_key=api_key,
            client_id=client_id,
            client_secret=client_secret,
            refresh_token=refresh_token,
            private_key=private_key,
            assertion=assertion,
            totp_seed=totp_seed,
            proxy=proxy,
            ca_file=ca_file,
            client_cert=client_cert,
            client_key=client_key,
            allow_http=allow_http,
            headers=headers,
            timeouts=None if timeout is None else Timeouts.of(timeout, Timeouts()),
            model=model,
        )
        loaded = load_config(None if config is None else Path(config))
        self._open(service, recipe, given, loaded, max_retries)
        if self._service is not None:
            _refuse_other_credentials(given, self._service.settings)

    def _open(
        self,
        service: str | None,
        recipe: str | Path | None,
        given: Overrides,
        loaded: Config,
        max_retries: int | None,
    ) -> None:
        if service is None and recipe is None:
            service = self._default_service(given, loaded)
        self._model = ""
        if recipe is not None:
            self._inner = _open_recipe(service, str(recipe), given, loaded, max_retries)
        elif service is not None:
            target = model_names(loaded).resolve(service)
            given = msgspec.structs.replace(given, model=given.model or target.model or None)
            self._inner = open_provider(target.provider, loaded, given, max_retries)
            self._model = given.model or ""
        else:
            seed = {"url": given.url or type(self).chosen_url(), "last_url": SEED_URL}
            given = msgspec.structs.replace(given, **seed)
            self._inner = open_provider("berlin", loaded, given, max_retries)

    _inner: ChatProvider

    def _default_service(self, given: Overrides, config: Config) -> str | None:
        """Return the default provider's name, unless the arguments or the class name a service."""
        if type(self).chosen_url() or given.url or any(getattr(given, n, None) for n in NAMES):
            return None
        return default_of_file(config)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a provider for resolved settings, of any recipe."""
        berlin = cls.__new__(cls)
        berlin._inner, berlin._model = RecipeProvider(settings), ""
        return berlin

    @property
    def url(self) -> str:  # type: ignore[override]  # the class has its own, see SeedType
        """The base URL of the service; `""` for a provider without one."""
        service = self._service
        return service.settings.endpoint.url if service is not None else ""

    @property
    def name(self) -> str:
        """The provider's name; `""` if it has none."""
        return str(getattr(self._inner, "name", ""))

    @property
    def timeouts(self) -> Timeouts:
        """The limits of requests that set none."""
        return self._inner.timeouts

    @property
    def working(self) -> bool:  # type: ignore[override]  # as `url`
        """Whether the service works, as far as observed; `True` before the first request."""
        return bool(getattr(self._inner, "working", True))

    @property
    def default_model(self) -> str:
        """The model used when a call names none; `""` until it is known."""
        return self._model or getattr(self._inner, "default_model", "")

    @property
    def _token(self) -> str | None:
        token = self._service.token if self._service is not None else None
        return token.reveal() if token is not None else None

    @_token.setter
    def _token(self, token: str | None) -> None:
        self._need_service("takes no token").use_token(token)

    def bursts(self, request: ChatRequest) -> Bursts:
        """Answer a request; see `ChatProvider.bursts`."""
        if self._model and not request.model:
            request = msgspec.structs.replace(request, model=self._model)
        return self._inner.bursts(request)

    async def models(self) -> tuple[str, ...]:
        """Return the models, as listed by the service or by the recipe.

        Raises:
            BerlinError: if the service does not respond.
        """
        return await self._inner.models()

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
    ) -> list[list[float]]:
        """Return a vector for each text, if the recipe describes embeddings.

        Args:
            texts: one text, or several.
            model: the service's name of the model; by default the recipe's.
            dimensions: the length of each vector, if the service lets you choose.

        Raises:
            BerlinError: if the service has no embeddings, or there is no valid response.
        """
        embedder = self._need_service("has no embeddings").embedder
        if embedder is None:
            raise ConfigurationError(
                "this provider has no embeddings: its recipe needs a table [embeddings]"
            )
        inputs = (texts,) if isinstance(texts, str) else tuple(texts)
        answer = await embedder.embed(EmbeddingRequest(inputs, model or "", dimensions))
        return [vector_of(data) for data in answer.vectors]

    async def check(self) -> None:
        """Check that requests can be sent: log in, unless there is already a token.

        Raises:
            BerlinError: if that fails.
        """
        await self._inner.check()

    async def token(self) -> AccessToken:
        """Return a currently valid token, logging in if necessary.

        It is the token that requests use: all programs with the same token store share one login.

        Raises:
            BerlinError: if that fails.
        """
        return await self._need_service("takes no token").access_token()

    def reject_token(self, token: str) -> None:
        """Report a token that the service rejected, so that it is replaced.

        Args:
            token: the token.
        """
        self._need_service("takes no token").reject_token(Secret(token))

    async def log_in(self, person: Person | None) -> None:
        """Log in again, even if that needs a person (a device code), and keep the token.

        Args:
            person: the person who enters a code or logs in with a browser.

        Raises:
            BerlinError: if that fails.
        """
        await self._need_service("has no login").log_in(person)

    def watch_logins(self, observe: Callable[[str], None]) -> None:
        """Call a function after each login from now on: with `ok`, or the code of the error.

        Args:
            observe: the function.
        """
        self._inner.watch_logins(observe)

    async def use_session(self, cookies: str) -> None:
        """Keep a browser's session instead of logging in.

        Args:
            cookies: the value of the browser's Cookie header.

        Raises:
            ConfigurationError: if the service's session is not a cookie, or is not among these.
        """
        await self._need_service("has no login").use_session(cookies)

    async def aclose(self) -> None:
        """Close the connections of the running loop. The next request opens new ones."""
        await self._inner.aclose()

    @property
    def _service(self) -> RecipeProvider | None:
        return self._inner if isinstance(self._inner, RecipeProvider) else None

    def _need_service(self, lacks: str) -> RecipeProvider:
        service = self._service
        if service is None:
            raise ConfigurationError(f"this provider {lacks}: it was not built from a recipe")
        return service

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "a provider holds secrets and connections; create a new one instead of copying it"
        )

    def __repr__(self) -> str:
        if "_inner" not in vars(self):  # it could not be created
            return f"<{type(self).__name__}, not open>"
        return f"{type(self).__name__}({self.url!r})" if self.url else f"{type(self).__name__}()"


def _open_recipe(
    service: str | None,
    recipe: str,
    given: Overrides,
    config: Config,
    max_retries: int | None,
) -> RecipeProvider:
    if service is not None:
        raise ConfigurationError(
            f"{service!r} is the name of a provider, which has a recipe; give only one of the two"
        )
    mine = ProviderConfig(recipe=recipe)
    settings = settings_of(resolve_recipe(recipe).name, mine, config, given)
    return RecipeProvider(settings, max_retries)


def _refuse_other_credentials(given: Overrides, settings: Settings) -> None:
    """Raise an error if the credentials were given that another kind of service needs."""
    if settings.credentials is not None:
        return
    flow = settings.recipe.auth.flow()
    needs = flow.needs if flow is not None else ()
    other = [name for name in ("account", "password", "api_key") if getattr(given, name, None)]
    if other and not set(other) & {*needs}:
        raise ConfigurationError(
            f"the recipe {settings.recipe.name} needs {' and '.join(needs)}, not "
            f"{' and '.join(other)}; name the recipe of your service, such as "
            "Berlin(recipe='openai-compatible', url=…, api_key=…)"
        )


# Names of the same arguments in other libraries.
_SYNONYMS = {
    **dict.fromkeys(("base_url", "api_base", "endpoint", "host", "server"), "url"),
    **dict.fromkeys(("username", "user", "email"), "account"),
    **dict.fromkeys(("key", "token", "access_token"), "api_key"),
    **dict.fromkeys(("retries", "max_attempts"), "max_retries"),
    "proxies": "proxy",
    "verify": "ca_file",
}


def _describe_unknown(name: str) -> str:
    known = list(inspect.signature(Berlin).parameters)[:-1]
    meant = _SYNONYMS.get(name) or nearest(name, known)
    hint = f"did you mean {meant!r}?" if meant else f"it takes {', '.join(known)}"
    return f"Berlin has no argument {name!r}; {hint} Options of a model belong to ask and text."
