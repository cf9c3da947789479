"""The one way from a model's name to a provider, for Python, the terminal and the gateway.

A name is, in this order:

1. an alias of the configuration, matched exactly
2. a provider (its default model), or `provider:model`, split at the first colon
3. an alias with a wildcard (`claude-*`)
4. a known model of the default provider

Everything else is an error that suggests the nearest name. A model named together with its provider
need not be listed anywhere: services have more models than they list. The tag `:latest`, which
clients of Ollama add to names without a tag, makes no difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import Protocol

import msgspec

from berlin.errors import ConfigurationError, ModelNotFoundError
from berlin.types import nearest

MAX_SHOWN_CHARS = 100
# Providers that are searched for a model named without a provider.
MAX_PROVIDERS = 200
LATEST = ":latest"


class Offer(Protocol):
    """The known models of one provider."""

    @property
    def models(self) -> Collection[str]:
        """The known models."""
        ...

    @property
    def default(self) -> str:
        """Its default model; `""` if that has no name."""
        ...

    @property
    def aliases(self) -> Mapping[str, str]:
        """Its other names for models."""
        ...

    @property
    def any_model(self) -> bool:
        """Whether models that are not in `models` may be requested."""
        ...


class Target(msgspec.Struct, frozen=True):
    """The target that a model's name resolves to.

    Attributes:
        provider: the name of the provider.
        model: the provider's own name of the model; `""` for its default.
    """

    provider: str
    model: str = ""


def find_model(offer: Offer, model: str) -> str | None:
    """Return a provider's own name of a known model; `""` for its default, `None` if unknown."""
    for spelled in _spellings(model):
        name = offer.aliases.get(spelled, spelled)
        if not name or name == offer.default:
            return ""
        if name in offer.models:
            return name
    return None


class Names:
    """All names that resolve to a model.

    Args:
        offers: the models of each provider, by the provider's name.
        default: the provider to use when none is named; `None` if there is none.
        aliases: other names, and the name (of a provider, or `provider:model`) that each means. A
            `*` in an alias matches any text; a `*` in its meaning is replaced by that text.
        help_text: where the user finds all names; appended to error messages.
    """

    def __init__(
        self,
        offers: Mapping[str, Offer],
        default: str | None,
        aliases: Mapping[str, str],
        help_text: str = "`berlin providers` lists the providers",
    ) -> None:
        self._offers = offers
        self._default = default
        self._aliases = aliases
        patterns = (_Pattern.of(alias, meant) for alias, meant in aliases.items() if "*" in alias)
        # Of several patterns that match, the most specific one counts.
        self._patterns = sorted(patterns, key=lambda p: len(p.head) + len(p.tail), reverse=True)
        self._help_text = help_text

    def resolve(self, name: str) -> Target:
        """Return the provider and model that a name resolves to; `""` is the default provider's
        default.

        Raises:
            ModelNotFoundError: if there is none.
        """
        target = self._find(name)
        if target is None:
            raise ModelNotFoundError(self._describe_unknown(name))
        return target

    def check_aliases(self) -> None:
        """Check that each alias resolves to a model. Raises ConfigurationError."""
        for alias, meant in self._aliases.items():
            if meant in self._aliases:
                raise ConfigurationError(
                    f"the alias {alias!r} means {meant!r}, which is an alias too; name a model"
                )
            if alias.count("*") > 1:
                raise ConfigurationError(f"the alias {alias!r} has more than one '*'")
            if "*" in meant and "*" not in alias:
                raise ConfigurationError(
                    f"the alias {alias!r} means {meant!r}; a '*' there needs one in the alias"
                )
            if self._find_direct(meant) is None:
                raise ConfigurationError(f"the alias {alias!r} means {meant!r}: no such model")

    def list_all(self) -> Iterator[str]:
        """Yield the names of all known models in the form a user may write."""
        yield from (alias for alias in self._aliases if "*" not in alias)
        for provider, offer in self._offers.items():
            yield provider
            yield from (f"{provider}:{model}" for model in offer.models)

    def _find(self, name: str) -> Target | None:
        for spelled in _spellings(name):
            meant = self._aliases.get(spelled) if "*" not in spelled else None
            if meant is not None:
                return self._find_direct(meant)
            provider, _, model = spelled.partition(":")
            if provider in self._offers:
                known = find_model(self._offers[provider], model)
                if known is not None:
                    return Target(provider, known)
        if name.partition(":")[0] not in self._offers:
            for pattern in self._patterns:
                meant = pattern.apply(name)
                if meant is not None:
                    return self._find_direct(meant)
        return self._find_direct(name)

    def _find_direct(self, name: str) -> Target | None:
        """Resolve a name that is not an alias."""
        provider, colon, model = name.partition(":")
        if provider in self._offers:
            offer = self._offers[provider]
            known = find_model(offer, model if colon else "")
            if known is None and offer.any_model:
                known = model
            return None if known is None else Target(provider, known)
        if self._default is None:
            return None
        known = find_model(self._offers[self._default], name)
        return None if known is None else Target(self._default, known)

    def _provider_with(self, model: str) -> str | None:
        """Return a provider that has a model of exactly this name."""
        for provider in islice(self._offers, MAX_PROVIDERS):
            with suppress(ConfigurationError):  # from a recipe that was not requested
                if model in self._offers[provider].models:
                    return provider
        return None

    def _describe_unknown(self, name: str) -> str:
        shown = repr(name[:MAX_SHOWN_CHARS])
        provider, _, _ = name.partition(":")
        asked = provider if provider in self._offers else self._default
        having = self._provider_with(name)
        near = f"{having}:{name}" if having else nearest(name, self._comparable(asked))
        text = f"there is no model or provider {shown} here; "
        text += f"did you mean {near!r}?" if near else self._help_text
        bare = name[:MAX_SHOWN_CHARS].strip(":")
        if bare and asked not in (None, provider, having) and self._offers[asked].any_model:
            whole = f"{asked}:{bare}"
            text += f" (for a model that {asked} does not list, use {whole!r})"
        return text

    def _comparable(self, provider: str | None) -> Iterable[str]:
        names = chain(self._aliases, self._offers)
        if provider is not None:
            offer = self._offers[provider]
            whole = (f"{provider}:{model}" for model in chain(offer.aliases, offer.models))
            bare = chain(offer.aliases, offer.models) if provider == self._default else ()
            names = chain(names, bare, whole)
        return names


class _Pattern(msgspec.Struct, frozen=True):
    """An alias with a wildcard.

    Attributes:
        head: the text before the `*`.
        tail: the text after it.
        meant: what it means.
    """

    head: str
    tail: str
    meant: str

    @classmethod
    def of(cls, alias: str, meant: str) -> _Pattern:
        head, _, tail = alias.partition("*")
        return cls(head, tail, meant)

    def apply(self, name: str) -> str | None:
        """Return the meaning of a name under this pattern, or `None` if it does not match."""
        end = len(name) - len(self.tail)
        if end < len(self.head) or not (name.startswith(self.head) and name.endswith(self.tail)):
            return None
        return self.meant.replace("*", name[len(self.head) : end])


def _spellings(name: str) -> tuple[str, ...]:
    return (name, name.removesuffix(LATEST)) if name.endswith(LATEST) else (name,)
