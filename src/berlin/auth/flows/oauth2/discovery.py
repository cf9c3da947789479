"""Finds the endpoints of an authorization server (RFC 8414, OpenID Connect Discovery 1.0)."""

from __future__ import annotations

import time
from urllib.parse import urlsplit, urlunsplit

import msgspec

from berlin.auth.contract import Send
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.errors import BerlinError, ConfigurationError, ProtocolError, RequestRejectedError
from berlin.language.step import MAX_STEP_VALUES
from berlin.types import HttpRequest, is_loopback, split_url
from berlin.wire.json import decoded_or_none
from berlin.wire.snippet import snippet
from berlin.wire.status import error_from_answer

FRESH_S = 3600.0
MAX_METADATA_BYTES = 1024 * 1024


class Endpoints(msgspec.Struct, frozen=True):
    """The endpoints of an authorization server.

    Attributes:
        device: the device authorization endpoint; `""` if there is none.
        authorize: the page where a person logs in; `""` if there is none.
        issuer: the server's issuer identifier; `""` if unknown.
        names_itself: whether it adds its issuer identifier to the redirect (RFC 9207).
        keys: where its public keys are; `""` if unknown.
    """

    token: str
    device: str = ""
    authorize: str = ""
    issuer: str = ""
    names_itself: bool = False
    keys: str = ""


class Server:
    """An authorization server: its endpoints, from a recipe or from its metadata, and its clock.

    Attributes:
        skew_s: how far its clock is ahead of ours, as far as known.
    """

    def __init__(self, described: OAuth2Map) -> None:
        self.described = described
        self.skew_s = 0.0
        self._found: Endpoints | None = None
        self._fresh_until = 0.0

    async def endpoints(self, send: Send) -> Endpoints:
        """Return the endpoints; metadata is read once an hour.

        Raises:
            ConfigurationError: if the issuer is not a URL that can be trusted.
            ProtocolError: if its metadata is invalid.
            BerlinError: if it cannot be reached.
        """
        given = self.described
        if not given.issuer:
            return Endpoints(given.token_url, given.device_url, given.authorize_url)
        if self._found is None or time.monotonic() >= self._fresh_until:
            self._found = await discover(given.issuer, send)
            self._fresh_until = time.monotonic() + FRESH_S
        found = self._found
        if not (given.token_url or found.token):
            raise ProtocolError(f"the metadata of {given.issuer} name no token_endpoint")
        return msgspec.structs.replace(
            found,
            token=given.token_url or found.token,
            device=given.device_url or found.device,
            authorize=given.authorize_url or found.authorize,
        )


class _Metadata(msgspec.Struct):
    issuer: str
    token_endpoint: str = ""
    jwks_uri: str = ""
    device_authorization_endpoint: str = ""
    authorization_endpoint: str = ""
    authorization_response_iss_parameter_supported: bool = False


async def discover(issuer: str, send: Send) -> Endpoints:
    """Return the endpoints in the metadata of an issuer.

    Raises:
        ConfigurationError: if the issuer is not a URL that can be trusted.
        BerlinError: for all other failures.
    """
    failure: BerlinError | None = None
    for url in _places(issuer):
        response = await send(HttpRequest("GET", url, {"Accept": "application/json"}))
        if response.status in (400, 404, 405):
            failure = failure or RequestRejectedError(f"{url} answers {response.status}")
        elif response.status != 200:
            raise error_from_answer(response.status, response.headers, snippet(response.body))
        else:
            try:
                return _read(response.body, issuer)
            except ProtocolError as error:  # a page for every unknown path
                failure = error
    if isinstance(failure, ProtocolError):
        raise failure
    raise ConfigurationError(
        f"{issuer} publishes no metadata: give token_url (and device_url or authorize_url) instead"
    ) from failure


def _places(issuer: str) -> tuple[str, str]:
    """Return the possible metadata URLs: RFC 8414, 3.1, then OpenID Connect Discovery, 4."""
    parts = split_url(issuer, "issuer", ("https", "http"))
    is_safe = parts.scheme == "https" or is_loopback(parts.hostname or "")
    if not is_safe or parts.query or parts.fragment:
        raise ConfigurationError(
            f"issuer must be an https URL without a query, not {issuer[:100]!r}"
        )
    path = parts.path.rstrip("/")
    oauth = urlunsplit(parts._replace(path=f"/.well-known/oauth-authorization-server{path}"))
    openid = urlunsplit(parts._replace(path=f"{path}/.well-known/openid-configuration"))
    return oauth, openid


def _read(body: bytes, issuer: str) -> Endpoints:
    if len(body) > MAX_METADATA_BYTES:
        raise ProtocolError(f"the metadata of {issuer} are longer than {MAX_METADATA_BYTES} bytes")
    try:
        found = msgspec.convert(decoded_or_none(body, MAX_STEP_VALUES), _Metadata)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"the metadata of {issuer}: {error}") from error
    # RFC 8414, 3.3: otherwise one server could impersonate another (mix-up attack).
    if found.issuer.rstrip("/") != issuer.rstrip("/"):
        raise ProtocolError(
            f"the metadata of {issuer} are those of {found.issuer[:200]!r}; give that as issuer "
            "if it is the right one"
        )
    local = is_loopback(urlsplit(issuer).hostname or "")
    schemes = ("https", "http") if local else ("https",)
    urls = (
        found.token_endpoint,
        found.device_authorization_endpoint,
        found.authorization_endpoint,
        found.jwks_uri,
    )
    try:
        for url in filter(None, urls):
            split_url(url, f"a URL in the metadata of {issuer}", schemes)
    except ConfigurationError as error:
        raise ProtocolError(error.message) from None
    return Endpoints(
        found.token_endpoint,
        found.device_authorization_endpoint,
        found.authorization_endpoint,
        found.issuer,
        found.authorization_response_iss_parameter_supported,
        found.jwks_uri,
    )
