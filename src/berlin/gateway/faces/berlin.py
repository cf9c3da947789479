"""The Berlin face: the Berlin recipe, read from the other end.

Paths, the members of each body, and the header of the token all come from the recipe, so client
and service cannot drift apart.
"""

from __future__ import annotations

import logging

from aiohttp import web

from berlin.auth.credentials import NAMES
from berlin.auth.login import LoginMap
from berlin.errors import BerlinError, ConfigurationError, InvalidRequestError
from berlin.gateway.accounts import MAX_NAME_CHARS, Accounts
from berlin.gateway.body import read_body
from berlin.gateway.sessions import Sessions
from berlin.gateway.streaming import OpenStreams
from berlin.gateway.throttle import Throttle
from berlin.providers.base import Provider
from berlin.providers.recipe import load_recipe
from berlin.types import Secret
from berlin.wire.exchange import ExchangeFormat

_log = logging.getLogger("berlin.gateway")


class BerlinFace:
    """Login and chat as the class `Berlin` speaks them.

    Args:
        provider: what answers.
        accounts: who may log in.
        sessions: who is logged in.
        streams: the answers being written.
    """

    def __init__(
        self, provider: Provider, accounts: Accounts, sessions: Sessions, streams: OpenStreams
    ) -> None:
        recipe = load_recipe("berlin")
        login = recipe.auth
        if not isinstance(login, LoginMap):
            raise ConfigurationError("the Berlin recipe has no login")
        step = login.steps[0]
        self._login = ExchangeFormat(step.json or {}, frozenset(NAMES), str(step.take["token"]))
        self._format = recipe.format()
        self._header, self._prefix = login.attach.header, login.attach.prefix
        self._paths = (step.path, recipe.chat.path)
        self._provider = provider
        self._accounts = accounts
        self._sessions = sessions
        self._streams = streams
        self._throttle = Throttle()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of this face."""
        login, chat = self._paths
        return [web.post(login, self._handle_login), web.post(chat, self._handle_chat)]

    async def _handle_login(self, request: web.Request) -> web.StreamResponse:
        try:
            values = self._login.decode_request(await read_body(request))
        except InvalidRequestError as error:
            return refuse(error)
        account, password = values["account"], Secret(values["password"])
        # By address and account: a stranger's guesses do not lock out the owner elsewhere.
        guesser = (request.remote, account[: MAX_NAME_CHARS + 1])
        wait = self._throttle.wait(guesser)
        if wait:
            _log.warning("login.throttled account=%r", account[:64])
            return _answer(429, "too many wrong passwords; wait", retry_after=wait)
        right = await self._accounts.verify(account, password)
        wait = self._throttle.wait(guesser)  # others may have guessed at the same time
        if wait:
            return _answer(429, "too many wrong passwords; wait", retry_after=wait)
        if not right:
            self._throttle.fail(guesser)
            return _answer(401, "wrong account or password")
        self._throttle.succeed(guesser)
        body = self._login.encode_response(self._sessions.open(account))
        return web.Response(
            body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def _handle_chat(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.getall(self._header, [])
        token = given[0].removeprefix(self._prefix) if len(given) == 1 else ""
        if self._sessions.account(token) is None:
            return _answer(401, "the token is missing, wrong or expired: log in")
        try:
            chat = self._format.decode_request(await read_body(request))
        except InvalidRequestError as error:
            return refuse(error)
        return await self._streams.answer(
            request,
            self._provider.bursts(chat),
            self._format.encoder(),
            self._format.content_type,
            refuse,
        )


def refuse(error: BerlinError) -> web.Response:
    """Return the answer of this face to an error before the first event."""
    return _answer(error.http_status, error.message, error.retry_after)


def _answer(status: int, message: str, retry_after: float | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(max(1, round(retry_after)))}
    return web.json_response({"code": status, "message": message}, status=status, headers=headers)
