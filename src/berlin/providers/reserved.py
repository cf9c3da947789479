"""Names that are never model options: credentials, addresses, and parts of the protocol.

Unknown options are passed to the service unchanged, so a credential among them would be too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from berlin.errors import InvalidRequestError
from berlin.types import Secret

_TO_PROVIDER = "it belongs to the provider, not to a request: Berlin({name}=…)"
_KEY = "a key belongs to the provider, not to a request: Berlin(api_key=…)"
_URL = "the address belongs to the provider, not to a request: Berlin(url=…)"
_HEADERS = "headers belong to the provider, not to a request: Berlin(headers=…)"
_LOGIN = "Berlin logs in itself; give the provider its credentials: Berlin(account=…)"
_FIRST = "give the prompt or the messages as the first argument"
_NETWORK = "how to connect belongs to the provider: Berlin(proxy=…, ca_file=…, client_cert=…)"

_PLACES: Mapping[str, str] = {
    **dict.fromkeys(("account", "password", "client_id", "client_secret"), _TO_PROVIDER),
    **dict.fromkeys(("refresh_token", "totp_seed", "proxy", "ca_file"), _TO_PROVIDER),
    **dict.fromkeys(("client_cert", "client_key", "allow_http", "max_retries"), _TO_PROVIDER),
    **dict.fromkeys(("api_key", "openai_api_key", "anthropic_api_key"), _KEY),
    **dict.fromkeys(("url", "base_url", "api_base", "api_url", "endpoint"), _URL),
    **dict.fromkeys(("headers", "extra_headers", "default_headers", "cookies"), _HEADERS),
    **dict.fromkeys(("token", "access_token", "id_token", "auth_token", "bearer"), _LOGIN),
    **dict.fromkeys(("session_token", "authorization", "auth", "credentials"), _LOGIN),
    **dict.fromkeys(("messages", "prompt"), _FIRST),
    **dict.fromkeys(("proxies", "verify", "cert", "ssl", "http_client"), _NETWORK),
    "username": "the account belongs to the provider, not to a request: Berlin(account=…)",
    "timeouts": "it is called timeout",
    "extra_body": "pass its members as separate options",
}

_CREDENTIAL = re.compile(r"(?:^|_)(?:api_?key|passw(?:or)?d|secret|private_key|access_token)$")


def check_names(options: Iterable[str]) -> None:
    """Check that no option has a reserved name.

    Raises:
        InvalidRequestError: the error says where the value belongs.
    """
    for name in options:
        plain = name.lower().replace("-", "_")
        place = _PLACES.get(plain)
        if place is None and _CREDENTIAL.search(plain):
            place = "a credential belongs to the provider, not to a request"
        if place is not None:
            raise InvalidRequestError.about(
                name, f"never sent as an option; {place.format(name=plain)}"
            )


def check_values(options: Mapping[str, Any], secrets: Iterable[Secret]) -> None:
    """Check that no option contains a credential of the provider, whatever its name.

    Raises:
        InvalidRequestError: the error names the option, not the value.
    """
    clear = [secret.reveal() for secret in secrets]
    for name, value in options.items():
        if type(value) not in _PLAIN and any(text in clear for text in _texts(value)):
            raise InvalidRequestError.about(
                name, "contains a credential of the provider, which is never sent as an option"
            )


_PLAIN = frozenset({int, float, bool})


def _texts(value: Any, depth: int = 8) -> Iterable[str]:
    match value:
        case str():
            yield value
        case Mapping() if depth:
            for member in value.values():
                yield from _texts(member, depth - 1)
        case list() | tuple() if depth:
            for item in value:
                yield from _texts(item, depth - 1)
