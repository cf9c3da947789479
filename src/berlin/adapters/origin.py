"""Checks that a token is sent only to its own service."""

from __future__ import annotations

from urllib.parse import urlsplit

from berlin.client import Berlin
from berlin.errors import ConfigurationError

_PORTS = {"http": 80, "https": 443}


def check_origin(berlin: Berlin, url: str) -> None:
    """Raise ConfigurationError for a URL that is not at the provider's origin."""
    if _origin(berlin.url) != _origin(url):
        raise ConfigurationError(
            f"the token of {urlsplit(berlin.url).hostname} is not sent to "
            f"{urlsplit(url).hostname}; use another provider for that service"
        )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)
