"""Identifies the service at a URL, with requests that carry no credentials.

The table `[recognise]` of each shipped recipe says which answers identify its service. Only GET is
sent, only to the named host, and redirects are not followed.
"""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urljoin, urlsplit

import msgspec

from berlin.errors import BerlinError, ConfigurationError
from berlin.recipes.build import USER_AGENT
from berlin.recipes.recipe import Recipe, load_recipe, recipe_names
from berlin.transport import Transport
from berlin.types import Endpoint, HttpRequest, HttpResponse, is_loopback
from berlin.wire.snippet import snippet

CONNECT_S = 5.0
ANSWER_S = 8.0
MAX_BODY_BYTES = 512 * 1024
AT_ONCE = 4


class Match(msgspec.Struct, frozen=True):
    """A recipe that fits, and the evidence.

    Attributes:
        url: the base URL to use with it.
        proof: the evidence, in words.
        login: whether the service requires a login; `None` if the answers do not show that.
    """

    recipe: str
    url: str
    proof: str
    login: bool | None = None


class Findings(msgspec.Struct, frozen=True):
    """The result of probing a URL.

    Attributes:
        services: the recipes whose service was identified; more than one leaves the choice open.
        dialects: the recipes whose dialect is spoken there.
        seen: what the root answers, in words.
    """

    services: tuple[Match, ...] = ()
    dialects: tuple[Match, ...] = ()
    seen: str = ""


def by_address(url: str) -> Match | None:
    """Return the shipped recipe whose own host is that of a URL; nothing is sent."""
    host = urlsplit(url).hostname or ""
    if is_loopback(host):
        return None
    for name in recipe_names():
        described = load_recipe(name).endpoint
        if not described.example and urlsplit(described.url).hostname == host:
            return Match(name, described.url, f"{host} is the address in the recipe {name}")
    return None


async def recognise(endpoint: Endpoint) -> Findings:
    """Identify the service at an endpoint.

    Raises:
        TransportError: if nothing answers.
        ConfigurationError: if the address only redirects elsewhere; the error names the target.
    """
    recipes = [load_recipe(name) for name in recipe_names()]
    transport = Transport(endpoint, USER_AGENT)
    try:
        first, seen = True, ""
        probes = {root: _Probe(transport, root) for root in _roots(endpoint.url, recipes)}
        origin = urljoin(endpoint.url, "/").rstrip("/")
        for root, probe in probes.items():
            front = await probe.ask("/", may_fail=not first)
            if first:
                _refuse_elsewhere(front, endpoint.url)
                seen = _describe(front)
            first = False
            # A web app shows its one page at every path; only its origin is its root.
            page = front.body if front.status == 200 and root != origin else b""
            if page and page == (await probes[origin].ask("/")).body:
                continue
            found = await _look(probe, root, recipes)
            if found.services or found.dialects:
                return msgspec.structs.replace(found, seen=seen)
        return Findings(seen=seen)
    finally:
        await transport.aclose()


async def _look(probe: _Probe, root: str, recipes: list[Recipe]) -> Findings:
    paths = {sign.path for recipe in recipes for sign in recipe.recognise.signs}
    await asyncio.gather(*(probe.ask(path) for path in sorted(paths)))
    found: dict[str, list[Match]] = {"service": [], "dialect": []}
    for recipe in recipes:
        match = _match(recipe, root, probe.answers)
        if match is not None:
            found[recipe.recognise.kind].append(match)
    return Findings(tuple(found["service"]), tuple(found["dialect"]))


def _match(recipe: Recipe, root: str, answers: dict[str, HttpResponse]) -> Match | None:
    described, proofs, login = recipe.recognise, [], None
    for sign in described.signs:
        answer = answers.get(sign.path)
        proof = sign.proof(answer) if answer is not None else None
        if proof is not None:
            proofs.append(proof)
            login = sign.login if login is None else login
    return Match(recipe.name, root + described.below, proofs[0], login) if proofs else None


class _Probe:
    """Requests below one root, each sent once."""

    def __init__(self, transport: Transport, root: str) -> None:
        self.answers: dict[str, HttpResponse] = {}
        self._transport = transport
        self._root = root
        self._free = asyncio.Semaphore(AT_ONCE)

    async def ask(self, path: str, *, may_fail: bool = True) -> HttpResponse:
        """Return the answer to a GET; one with status 0 if it may fail and does."""
        if path in self.answers:
            return self.answers[path]
        try:
            async with self._free, asyncio.timeout(ANSWER_S):
                answer = await self._transport.open(
                    HttpRequest("GET", self._root + path), CONNECT_S
                )
                try:
                    self.answers[path] = await answer.whole(MAX_BODY_BYTES)
                finally:
                    answer.close()
        except (BerlinError, TimeoutError):
            if not may_fail:
                raise
            return HttpResponse(0)
        return self.answers[path]


def _roots(url: str, recipes: list[Recipe]) -> list[str]:
    """Return the URLs that may be the root of the service: the nearest first, its origin last."""
    belows = sorted({recipe.recognise.below for recipe in recipes} - {""}, key=len, reverse=True)
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    shorter = [url.removesuffix(below) for below in belows if url.endswith(below)]
    return list(dict.fromkeys([*shorter, url, origin]))


def _refuse_elsewhere(answer: HttpResponse, url: str) -> None:
    """Raise an error that names the target if this address only redirects elsewhere."""
    target = urljoin(url + "/", answer.headers.get("location", ""))
    if not 300 <= answer.status < 400 or not target.startswith(("http://", "https://")):
        return
    ours, theirs = urlsplit(url), urlsplit(target)
    if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
        raise ConfigurationError(
            f"{url} only redirects to {snippet(target)}; if that is your service, use its address: "
            f"berlin add {theirs.scheme}://{theirs.netloc}"
        )


def _describe(answer: HttpResponse) -> str:
    """Return in words what an answer looks like."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    title = re.search(rb"<title[^>]*>(.*?)</title>", answer.body, re.IGNORECASE | re.DOTALL)
    if title:
        return f"{answer.status} with the page {snippet(title[1], 80)!r}"
    if not answer.body.strip():
        return f"{answer.status} without a body"
    return f"{answer.status} with {kind or 'something'}: {snippet(answer.body, 80)}"
