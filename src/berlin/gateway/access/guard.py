"""Checks the keys of clients, and which web pages may send requests from a browser."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, TypeAlias

from berlin.config.tables.issuers import IssuerConfig
from berlin.errors import (
    KeyRefusedError,
    ModelNotFoundError,
    OverloadedError,
    UnavailableError,
)
from berlin.gateway import web
from berlin.gateway.access.caller import Caller, Scope
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import KEY_PREFIX
from berlin.gateway.access.origin import (
    LOOPBACK,
    Proxies,
    asked_host,
    host_name,
    is_local,
    network_of,
)
from berlin.gateway.access.shared_keys.reader import PostgresKeys
from berlin.gateway.access.throttle import ADDRESS_PACE, Sketch, Throttle
from berlin.gateway.catalog import Target
from berlin.gateway.refusals import HttpFault
from berlin.gateway.workers.worker import Worker
from berlin.types import Identity, is_loopback

if TYPE_CHECKING:
    from berlin.gateway.access.issuers.tokens import Issuers

Keys: TypeAlias = KeyReader | PostgresKeys

# Headers in which clients of the different faces send their key.
_KEY_HEADERS = ("x-api-key", "api-key")
_CORS_MAX_AGE_S = 600

_log = logging.getLogger("berlin.gateway")


class Guard:
    """Authenticates clients.

    Args:
        keys: the keys; `None` for a gateway without keys.
        allowed_hosts: host names under which the gateway is reached, besides those of this machine.
        cors_origins: origins of web pages that may send requests.
        trusted_proxies: addresses of proxies trusted to report the client's address; by default
            this machine if there are `allowed_hosts`, because then there is a proxy in front.
        worker: which of several workers this process is; they count wrong keys together.

    Attributes:
        issuers: verifies tokens of identity providers, which take the place of keys.
        accounts: the accounts that may log in.
        address: returns the address of a client, as reported by trusted proxies.
    """

    def __init__(
        self,
        keys: Keys | None = None,
        allowed_hosts: tuple[str, ...] = (),
        cors_origins: tuple[str, ...] = (),
        trusted_proxies: tuple[str, ...] | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.issuers: Issuers | None = None
        self.use(allowed_hosts, cors_origins, trusted_proxies)
        self.accounts: Sized = ()
        self._keys = keys
        self._wrong_keys = Throttle(ADDRESS_PACE, sketch=Sketch.of(worker, "keys"))

    def use(
        self,
        allowed_hosts: tuple[str, ...],
        cors_origins: tuple[str, ...],
        trusted_proxies: tuple[str, ...] | None,
    ) -> None:
        """Replace the settings. Raises ConfigurationError if a proxy is not an address."""
        if trusted_proxies is None:
            trusted_proxies = LOOPBACK if allowed_hosts else ()
        self.address = Proxies(trusted_proxies).client
        self.allowed_hosts = allowed_hosts
        self.cors_origins = cors_origins

    def use_issuers(self, tables: Mapping[str, IssuerConfig]) -> None:
        """Replace the identity providers, if they have changed. Raises ConfigurationError."""
        if tables != (self.issuers.tables if self.issuers is not None else {}):
            # PyJWT and discovery, only where there are issuers.
            from berlin.gateway.access.issuers.tokens import Issuers

            self.issuers = Issuers(tables) if tables else None

    @property
    def needs_key(self) -> bool:
        """Whether clients must have a key: once one has ever existed."""
        return self.issuers is not None or (self._keys is not None and self._keys.required)

    def require_keys(self) -> None:
        """Require keys from now on."""
        if self._keys is not None:
            self._keys.require()

    @property
    def problem(self) -> str:
        """The problem with the keys; `""` if they can be read."""
        return self._keys.problem if self._keys is not None else ""

    @property
    def keys(self) -> int:
        """The number of keys."""
        return self._keys.count if self._keys is not None else 0

    @property
    def is_shared(self) -> bool:
        """Whether there may be several callers, so that none may take everything."""
        keys = self._keys.count if self._keys is not None else 0
        return self.issuers is not None or keys + len(self.accounts) > 1

    def close(self) -> None:
        """Close the file of the keys."""
        if self._keys is not None:
            self._keys.close()

    async def identify(self, request: web.Request, scope: Scope = "chat") -> Caller | None:
        """Return the client; `None` where no key is needed.

        Args:
            request: its request.
            scope: what it wants to do.

        Raises:
            KeyRefusedError: if it has no key, or a wrong one.
            HttpFault: if its key may not do this.
            OverloadedError: if too many wrong keys came from its address.
            UnavailableError: if the keys cannot be read.
        """
        keys = self._keys
        if isinstance(keys, PostgresKeys):
            await keys.prepare()
        if not self.needs_key:
            if keys is None or is_local(request):
                return None
            raise KeyRefusedError(
                "only programs on the gateway's own machine need no key, and this request came "
                "through a proxy; the gateway has no keys yet (`berlin key add NAME`)"
            )
        caller = await self._find(request, keys)
        if not caller.may(scope):
            raise HttpFault(
                403, f"this key may not do this: it has no scope {scope!r} (`berlin key list`)"
            )
        return caller

    async def refresh(self) -> None:
        """Make sure that what is known about keys is fresh."""
        if isinstance(self._keys, PostgresKeys):
            await self._keys.prepare()

    async def _find(self, request: web.Request, keys: Keys | None) -> Caller:
        # Programs send one of our keys beside a foreign or an empty one.
        sent = _sent_keys(request)[:MAX_SENT_KEYS]
        if keys is not None:
            for one in sent:
                if (key := keys.find(one)) is not None:
                    return key
        if self.issuers is not None:
            tokens = [one for one in sent if self.issuers.is_token(one)]
            if tokens:
                return await self.issuers.find(tokens[0])
        if keys is not None and not keys.readable:
            raise UnavailableError("the keys cannot be read at present; try again", retry_after=2)
        if sent:  # without a key nothing was guessed
            self._slow_down(network_of(self.address(request)))
        raise KeyRefusedError("the API key is missing or wrong")

    def _slow_down(self, origin: str) -> None:
        # A valid key is never slowed down by guesses of others from its address.
        wait = self._wrong_keys.wait(origin)
        if wait:
            raise OverloadedError("too many wrong keys; wait", retry_after=wait)
        self._wrong_keys.fail(origin)

    def identity(self, request: web.Request) -> Identity | None:
        """Return the client's own token, for services that are used on behalf of their callers;
        `None` if there is none.

        It is what `Authorization` carries, unless that is one of this gateway's keys; or else a
        token of an issuer in another header of keys.
        """
        values = request.headers.getall("Authorization", [])
        value = values[0] if len(values) == 1 else ""
        bearer = value[7:].strip() if value[:7].lower() == "bearer " else ""
        if bearer and bearer.isascii() and not self._is_ours(bearer):
            return Identity.of(bearer)
        if self.issuers is None:
            return None
        # Other keys there are for other services, and concern no identity provider.
        sent = filter(self.issuers.is_token, _sent_keys(request)[:MAX_SENT_KEYS])
        return next((Identity.of(token) for token in sent), None)

    def _is_ours(self, key: str) -> bool:
        """Return whether it is a key of this gateway, even a revoked one."""
        known = self._keys is not None and self._keys.find(key) is not None
        return known or key.startswith(KEY_PREFIX)

    def check_model(self, caller: Caller | None, target: Target, asked: str) -> None:
        """Raise ModelNotFoundError if a caller may not use a model, as if it did not exist."""
        if caller is not None and not caller.allows(target.full_name):
            raise ModelNotFoundError(f"the model {asked[:100]!r} does not exist here")

    def knows_host(self, request: web.Request) -> bool:
        """Return whether `Host` is a name of this machine, or an allowed one."""
        host = asked_host(request)
        return host in self.allowed_hosts or is_loopback(host)

    def check_origin(self, request: web.Request) -> None:
        """Refuse a request that a web page from elsewhere makes a browser send.

        Without keys the host must be a name of this machine, so that no page can reach the gateway
        under its own name (DNS rebinding).

        Raises:
            HttpFault: if it is refused.
        """
        if not self.knows_host(request) and (self.allowed_hosts or not self.needs_key):
            raise HttpFault(
                421, "unknown Host; name it as [server] allowed_hosts in the configuration"
            )
        origin = request.headers.get("Origin")
        if origin is None or origin in self.cors_origins:
            return
        host = asked_host(request)
        if host and host_name(origin.partition("://")[2]) == host:
            return
        _log.warning("origin.refused origin=%r", origin[:200])
        raise HttpFault(403, "web pages of this origin may not ask; see [server] cors_origins")

    def preflight(self, request: web.Request) -> web.Response:
        """Answer a browser's CORS preflight. Raises HttpFault."""
        if request.headers.get("Origin") not in self.cors_origins:
            raise HttpFault(403, "web pages of this origin may not ask; see [server] cors_origins")
        headers = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": request.headers.get(
                "Access-Control-Request-Headers", "authorization, content-type"
            )[:1000],
            "Access-Control-Max-Age": str(_CORS_MAX_AGE_S),
        }
        return web.Response(status=204, headers=headers)

    def origin_headers(self, request: web.Request) -> dict[str, str]:
        """Return the CORS headers that let an allowed page read the answer."""
        if not self.cors_origins:
            return {}
        origin = request.headers.get("Origin", "")
        allowed = {"Access-Control-Allow-Origin": origin} if origin in self.cors_origins else {}
        return {"Vary": "Origin", **allowed}


MAX_SENT_KEYS = 2
"""More than this in one request counts as guessing."""


def _sent_keys(request: web.Request) -> list[str]:
    """Return the distinct keys in any header of a request.

    Two `Authorization` headers count as none: a proxy may have checked either one.
    """
    headers = request.headers
    values = headers.getall("Authorization", [])
    if len(values) > 1:
        return []
    value = values[0] if values else ""
    is_bearer = value[:7].lower() in ("bearer", "bearer ")
    sent = [value[7:].strip()] if is_bearer else []
    for name in _KEY_HEADERS:
        if name in headers:
            sent += [value.strip() for value in headers.getall(name)]
    if not is_bearer:  # another scheme counts as an unknown key, not as none
        sent.append(value)
    return [key for key in dict.fromkeys(sent) if key]
