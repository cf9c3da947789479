"""Which providers and models the gateway has, and which of them a client means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from typing import Self

import msgspec

from berlin.config import Names
from berlin.gateway.access.admission import Admission
from berlin.gateway.open_count import OpenCount
from berlin.providers.contract import Provider
from berlin.providers.embeddings import Embedder
from berlin.routing.base.circuit import State

AT_ONCE = 64
WAITING = 256
WAIT_S = 30.0


class ModelNames(tuple[str, ...]):
    """Names of models, in order, in which one is found at once: a service may list very many."""

    def __new__(cls, names: Iterable[str] = ()) -> Self:
        """Return the names."""
        made = super().__new__(cls, names)
        made._known = frozenset(made)
        return made

    _known: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return name in self._known


class Service:
    """A provider as the gateway offers it.

    Args:
        name: the provider's name in the configuration.
        provider: what answers.
        models: the models that it is known to have.
        default: the model that it is asked for when a client names none; `""` for the first one
            of `models`, or of those that it lists.
        aliases: its other names for models.
        any_model: whether it is asked for models that are not in `models` too, where a client
            names them as `provider:model`.
        fetch: asks the service which models it has.
        capabilities: what it can do besides text: `tools`, `images`, `reasoning`, `json`.
        embedder: what turns texts into vectors, where the service does.
        session_headers: more headers in which clients name their session, where the service
            keeps conversations; `None` where it does not.
        key: what tells it from another service of its name, after a change of configuration.
        admission: how many requests it answers at once.
        is_routed: whether it is made of several, so that the answer names the one who gave it.
        holds: whether nothing of an answer comes before its end.

    Attributes:
        bare: what answers, without the limits of its table.
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
        embedder: Embedder | None = None,
        session_headers: Iterable[str] | None = None,
        key: Hashable = None,
        is_routed: bool = False,
        holds: bool = False,
    ) -> None:
        self.name = name
        self.provider = self.bare = provider
        self.default = default
        self.learn(models)
        self.aliases = dict(aliases or {})
        self.any_model = any_model
        self.admission = admission or Admission(AT_ONCE, WAITING, WAIT_S)
        self.fetch = fetch
        self.capabilities = frozenset(capabilities)
        self.embedder = embedder
        self.session_headers = None if session_headers is None else tuple(session_headers)
        self.key = key
        self.is_routed = is_routed
        self.holds = holds
        self.open = OpenCount()

    async def retire(self) -> None:
        """Close the provider as soon as no request is with it."""
        await self.open.wait_until_none()
        await self.provider.aclose()

    def learn(self, models: Iterable[str]) -> None:
        """Take the models that the service itself lists, besides its default."""
        default = (self.default,) if self.default else ()
        self.models = ModelNames(dict.fromkeys((*default, *models)))


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
        circuits: returns the states of the circuit breakers, by provider.

    Raises:
        ConfigurationError: if an alias means nothing.
    """

    def __init__(
        self,
        services: Iterable[Service],
        aliases: Mapping[str, str] | None = None,
        circuits: Callable[[], Mapping[str, State]] = dict,
    ) -> None:
        self.circuits = circuits
        self.services = {service.name: service for service in services}
        self._default = next(iter(self.services.values()))
        help_text = "GET /v1/models lists all"
        self._names = Names(self.services, self._default.name, dict(aliases or {}), help_text)
        self._names.check_aliases()

    @property
    def default(self) -> Service:
        """The provider that is asked when a client names none."""
        return self._default

    def resolve(self, model: str) -> Target:
        """Return what a client means by the name of a model; the rules are those of `Names`.

        Raises:
            ModelNotFoundError: if there is no such model.
        """
        found = self._names.resolve(model)
        service = self.services[found.provider]
        first = "" if service.default else next(iter(service.models), "")
        return Target(service, found.model or first)

    def names(self) -> Iterator[str]:
        """Yield the names of all models, as clients may write them."""
        return self._names.list_all()
