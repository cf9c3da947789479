"""The gateway's providers and models, and the lookup of the one a client means."""

from __future__ import annotations

from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import msgspec

from berlin.config import Names
from berlin.gateway.access.admission import Admission
from berlin.gateway.open_count import OpenCount
from berlin.providers.contract import Provider
from berlin.providers.embeddings import Embedder

if TYPE_CHECKING:
    from berlin.config.models.routes import Routes

AT_ONCE = 64
WAITING = 256
WAIT_S = 30.0


class ModelNames(tuple[str, ...]):
    """Ordered model names with fast lookup: a service may list very many."""

    def __new__(cls, names: Iterable[str] = ()) -> Self:
        """Return the names."""
        made = super().__new__(cls, names)
        made._known = frozenset(made)
        return made

    _known: frozenset[str]

    def __contains__(self, name: object) -> bool:
        return name in self._known


@dataclass(eq=False)
class Service:
    """A provider as the gateway offers it.

    Args:
        name: the provider's name in the configuration.
        provider: the provider.
        models: the known models.
        default: the model used when a client names none; `""` for the first one
            of `models`, or of those that it lists.
        aliases: its other names for models.
        any_model: whether models that are not in `models` may be requested as `provider:model`.
        fetch: fetches the service's list of models.
        capabilities: what it can do besides text: `tools`, `images`, `reasoning`, `json`.
        embedder: the embedder, if the service has one.
        session_headers: additional headers with the client's session id, if the service keeps
            conversations; otherwise `None`.
        key: distinguishes it from a service of the same name after a change of configuration.
        admission: limits its concurrent requests.
        is_routed: whether it is composed of several, so that the answer names the one that gave it.
        holds: whether an answer is held back until its end.
        serves_callers: whether it is used on behalf of the callers, with the token of each.

    Attributes:
        bare: the provider without the limits of its table.
        open: counts its open requests.
    """

    name: str
    provider: Provider
    models: Collection[str] = ()
    default: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    any_model: bool = False
    admission: Admission = field(default_factory=lambda: Admission(AT_ONCE, WAITING, WAIT_S))
    fetch: Callable[[], Awaitable[Iterable[str]]] | None = None
    capabilities: Collection[str] = ()
    embedder: Embedder | None = None
    session_headers: Sequence[str] | None = None
    key: Hashable = None
    is_routed: bool = False
    holds: bool = False
    serves_callers: bool = False
    bare: Provider = field(init=False)
    open: OpenCount = field(default_factory=OpenCount, init=False)

    def __post_init__(self) -> None:
        self.bare = self.provider
        self.learn(self.models)

    async def retire(self) -> None:
        """Close the provider as soon as it has no open requests."""
        await self.open.wait_until_none()
        await self.provider.aclose()

    def learn(self, models: Iterable[str]) -> None:
        """Add the models that the service itself lists to its default."""
        default = (self.default,) if self.default else ()
        self.models = ModelNames(dict.fromkeys((*default, *models)))


class Target(msgspec.Struct, frozen=True):
    """The provider and model that a client's model name resolves to.

    Attributes:
        service: the provider.
        model: the provider's own name of the model; `""` for its default.
    """

    service: Service
    model: str

    @property
    def full_name(self) -> str:
        """`provider:model`, in canonical form, as used in the permissions of keys."""
        return f"{self.service.name}:{self.model or self.service.default}"


class Catalog:
    """All providers, at one point in time.

    Args:
        services: the providers; the first is used when a client names none.
        aliases: names of models that clients may use, and the `provider:model` that each means.
        routes: the models that are composed of several, and the state of their parts.
        limited: providers whose table has limits, with these limits; see `activate`.

    Attributes:
        default: the provider used when a client names none.

    Raises:
        ConfigurationError: if an alias resolves to nothing.
    """

    def __init__(
        self,
        services: Iterable[Service],
        aliases: Mapping[str, str] | None = None,
        routes: Routes | None = None,
        limited: Mapping[str, Provider] = {},
    ) -> None:
        self.routes = routes
        self._limited = limited
        self.services = {service.name: service for service in services}
        self.default = next(iter(self.services.values()))
        help_text = "GET /v1/models lists all"
        self._names = Names(self.services, self.default.name, dict(aliases or {}), help_text)
        self._names.check_aliases()

    def activate(self) -> None:
        """Apply the limits of this configuration to providers that it shares with the last one."""
        for name, service in self.services.items():
            service.provider = self._limited.get(name, service.bare)

    def resolve(self, model: str) -> Target:
        """Resolve a model name from a client, by the rules of `Names`.

        Raises:
            ModelNotFoundError: if there is no such model.
        """
        found = self._names.resolve(model)
        service = self.services[found.provider]
        first = "" if service.default else next(iter(service.models), "")
        return Target(service, found.model or first)

    def names(self) -> Iterator[str]:
        """Yield the names of all models, in the form clients may use."""
        return self._names.list_all()
