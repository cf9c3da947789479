"""Who may ask: the keys of clients, and which pages of the web may use a browser to ask."""

from __future__ import annotations

import logging
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from berlin.errors import (
    KeyRefusedError,
    ModelNotFoundError,
    OverloadedError,
    UnavailableError,
)
from berlin.gateway.access.key_reader import KeyReader
from berlin.gateway.access.keys import Key
from berlin.gateway.access.rate import RequestRate
from berlin.gateway.access.throttle import Throttle
from berlin.gateway.catalog import Target
from berlin.gateway.refusals import HttpFault
from berlin.types import is_loopback

# How clients of the different faces send their key.
_KEY_HEADERS = ("x-api-key", "api-key")
_CORS_MAX_AGE_S = 600

_log = logging.getLogger("berlin.gateway")


class Guard:
    """Lets clients in, or not.

    Args:
        keys: the keys that there are; `None` if there can be none.
        allowed_hosts: names by which the gateway is reached, besides those of this machine.
        cors_origins: origins of web pages that may ask.
    """

    def __init__(
        self,
        keys: KeyReader | None = None,
        allowed_hosts: tuple[str, ...] = (),
        cors_origins: tuple[str, ...] = (),
    ) -> None:
        self.allowed_hosts = allowed_hosts
        self.cors_origins = cors_origins
        self._keys = keys
        self._rate = RequestRate()
        self._wrong_keys = Throttle()

    @property
    def needs_key(self) -> bool:
        """Whether clients must have a key: as soon as there ever was one."""
        return self._keys is not None and self._keys.in_use

    @property
    def ready(self) -> bool:
        """Whether the keys can be read."""
        return self._keys is None or self._keys.working

    def close(self) -> None:
        """Close the file of the keys."""
        if self._keys is not None:
            self._keys.close()

    def identify(self, request: web.Request) -> Key | None:
        """Return the client's key; `None` where none is needed.

        Raises:
            KeyRefusedError: if it has none, or a wrong one.
            OverloadedError: if too many wrong keys came from there, or the key asks too often.
            UnavailableError: if the keys cannot be read.
        """
        if not self.needs_key or self._keys is None:
            return None
        sent = _sent_keys(request)
        key = self._keys.find(sent[0]) if len(sent) == 1 else None
        if key is None and not self._keys.working:
            raise UnavailableError("the keys cannot be read at present; try again", retry_after=2)
        if key is None:
            # A right key is never slowed down, whoever else guesses from its address.
            wait = self._wrong_keys.wait(request.remote)
            if wait:
                raise OverloadedError("too many wrong keys; wait", retry_after=wait)
            self._wrong_keys.fail(request.remote)
            raise KeyRefusedError("the API key is missing or wrong")
        if key.requests_per_minute is not None:
            wait = self._rate.take(key.id, key.requests_per_minute)
            if wait:
                raise OverloadedError(
                    f"this key may ask {key.requests_per_minute} times a minute", retry_after=wait
                )
        return key

    def check_model(self, key: Key | None, target: Target, asked: str) -> None:
        """Raise ModelNotFoundError if a key may not ask a model: it learns no more than that."""
        if key is not None and not key.allows(target.full_name):
            raise ModelNotFoundError(f"the model {asked[:100]!r} does not exist here")

    def check_origin(self, request: web.Request) -> None:
        """Refuse a request that a foreign web page lets a browser send.

        Without keys the name in `Host` must be one of this machine, so that no page can reach
        the gateway under a name of its own (DNS rebinding).

        Raises:
            HttpFault: if it is refused.
        """
        host = _host_name(request.headers.get("Host", ""))
        known = host in self.allowed_hosts or is_loopback(host)
        if not known and (self.allowed_hosts or not self.needs_key):
            raise HttpFault(
                421, "unknown Host; name it as [server] allowed_hosts in the configuration"
            )
        origin = request.headers.get("Origin")
        if origin is None or origin in self.cors_origins:
            return
        if host and _host_name(origin.partition("://")[2]) == host:
            return
        _log.warning("origin.refused origin=%r", origin[:200])
        raise HttpFault(403, "web pages of this origin may not ask; see [server] cors_origins")

    def preflight(self, request: web.Request) -> web.Response:
        """Answer the question of a browser whether a page may ask. Raises HttpFault."""
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

    def allow_origin(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser of a page that may ask that it may read the answer."""
        if self.cors_origins:
            response.headers["Vary"] = "Origin"
            origin = request.headers.get("Origin", "")
            if origin in self.cors_origins:
                response.headers["Access-Control-Allow-Origin"] = origin


def _sent_keys(request: web.Request) -> list[str]:
    """Return the different keys that a request carries, wherever."""
    sent = [
        value[7:].strip()
        for value in request.headers.getall("Authorization", [])
        if value[:7].lower() == "bearer "
    ]
    others = [v for v in request.headers.getall("Authorization", []) if v[:7].lower() != "bearer "]
    for name in _KEY_HEADERS:
        sent += [value.strip() for value in request.headers.getall(name, [])]
    # Another scheme is a key that is not known, not none.
    return list(dict.fromkeys([*sent, *others]))


@lru_cache
def _host_name(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").lower()
    except ValueError:
        return ""
