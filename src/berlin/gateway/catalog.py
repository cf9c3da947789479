"""Which providers and models the gateway has, and which of them a client means."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping

import msgspec

from berlin.errors import ConfigurationError, ModelNotFoundError
from berlin.gateway.access.admission import Admission
from berlin.gateway.open_count import OpenCount
from berlin.providers.contract import Provider

AT_ONCE = 64
WAITING = 256
WAIT_S = 30.0


class Service:
    """A provider as the gateway offers it.

    Args:
        name: the provider's name in the configuration.
        provider: what answers.
        models: the models that it is known to have.
        default: the model that it is asked for when a client names none; `""` if it has no name.
        aliases: its other names for models.
        any_model: whether it is asked for models that are not in `models` too, where a client
            names them as `provider:model`.
        fetch: asks the service which models it has.
        capabilities: what it can do besides text: `tools`, `images`, `reasoning`, `json`.
        key: what tells it from another service of its name, after a change of configuration.
        admission: how many requests it answers at once.

    Attributes:
        open: counts the requests that are with it.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        models: Iterable[str] = (),
        default: str = "",
        aliases: Mapping[str, str] | None = None,
        *,
        any_model: bool = False,
        admission: Admission | None = None,
        fetch: Callable[[], Awaitable[Iterable[str]]] | None = None,
        capabilities: Iterable[str] = (),
        key: Hashable = None,
    ) -> None:
        self.name = name
        self.provider = provider
        self.default = default
        self.learn(models)
        self.aliases = dict(aliases or {})
        self.any_model = any_model
        self.admission = admission or Admission(AT_ONCE, WAITING, WAIT_S)
        self.fetch = fetch
        self.capabilities = frozenset(capabilities)
        self.key = key
        self.open = OpenCount()

    async def retire(self) -> None:
        """Close the provider as soon as no request is with it."""
        await self.open.wait_until_none()
        await self.provider.aclose()

    def learn(self, models: Iterable[str]) -> None:
        """Take the models that the service itself lists, besides its default."""
        default = (self.default,) if self.default else ()
        self.models = tuple(dict.fromkeys((*default, *models)))

    def find(self, model: str) -> str | None:
        """Return its own name for a known model; `""` for its default, `None` if it has none."""
        model = self.aliases.get(model, model)
        if not model or model == self.default:
            return ""
        return model if model in self.models else None


class Target(msgspec.Struct, frozen=True):
    """What a client means by the model that it names.

    Attributes:
        service: which provider.
        model: the provider's own name of the model; `""` for its default.
    """

    service: Service
    model: str

    @property
    def full_name(self) -> str:
        """`provider:model`, whatever the client wrote: what keys allow or not."""
        return f"{self.service.name}:{self.model or self.service.default}"


class Catalog:
    """All providers, at one time.

    Args:
        services: the providers; the first is asked when a client names none.
        aliases: names of models that clients may use, and the `provider:model` that they mean.

    Raises:
        ConfigurationError: if an alias means nothing.
    """

    def __init__(self, services: Iterable[Service], aliases: Mapping[str, str] | None = None):
        self.services = {service.name: service for service in services}
        self._default = next(iter(self.services.values()))
        self._aliases = dict(aliases or {})
        for alias, meant in self._aliases.items():
            if meant in self._aliases:
                raise ConfigurationError(
                    f"the alias {alias!r} means {meant!r}, which is an alias too; name a model"
                )
            if self._find(meant) is None:
                raise ConfigurationError(f"the alias {alias!r} means {meant!r}: no such model")

    @property
    def default(self) -> Service:
        """The provider that is asked when a client names none."""
        return self._default

    def resolve(self, model: str) -> Target:
        """Return what a client means.

        `provider:model` is split at the first colon. A name without a provider is an alias, a
        provider (its default model), or a model of the default provider. The tag `:latest`, which
        clients of Ollama put behind names without one, is dropped.

        Raises:
            ModelNotFoundError: if there is no such model.
        """
        bare = model.removesuffix(":latest")
        asked = bare if bare in self._aliases or bare in self.services else model
        target = self._find(self._aliases.get(asked, asked))
        if target is None:
            near = difflib.get_close_matches(model, self.names(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "GET /v1/models lists all"
            raise ModelNotFoundError(f"the model {model[:100]!r} does not exist here; {hint}")
        return target

    def names(self) -> Iterator[str]:
        """Give the names of all models, as clients may write them."""
        yield from self._aliases
        for service in self.services.values():
            yield service.name
            yield from (f"{service.name}:{model}" for model in service.models)

    def _find(self, model: str) -> Target | None:
        name, colon, rest = model.partition(":")
        if name in self.services:
            service = self.services[name]
            found = service.find(rest if colon else "")
            if found is None and service.any_model:
                found = rest
        else:
            service = self._default
            found = service.find(model)
        return None if found is None else Target(service, found)
