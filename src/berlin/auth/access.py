"""An access token for use by other programs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from berlin.errors import ConfigurationError
from berlin.types import Secret


class AccessToken(msgspec.Struct, frozen=True):
    """A token that is valid now, and how a request to the service carries it.

    Attributes:
        headers: the headers that carry it, as the recipe attaches them.
        query: the members of the URL's query that carry it.
        expires_at: when it expires, in seconds since 1970; `None` if that is not known.
    """

    value: Secret
    headers: Mapping[str, Secret]
    query: Mapping[str, Secret] = {}
    expires_at: float | None = None

    def __str__(self) -> str:
        return self.value.reveal()

    def headers_only(self) -> dict[str, str]:
        """Return the headers in plaintext, for a client that can only set headers.

        Raises:
            ConfigurationError: if the service takes its token in the URL.
        """
        if self.query:
            raise ConfigurationError("this service takes its token in the URL, not in a header")
        return {name: value.reveal() for name, value in self.headers.items()}
