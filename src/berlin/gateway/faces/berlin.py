"""The Berlin face: the Berlin recipe, read from the other end.

Paths, the members of each body, and the header of the token all come from the recipe, so client
and service cannot drift apart.
"""

from __future__ import annotations

import logging

from aiohttp import web

from berlin.auth.attach import Attachment
from berlin.auth.credentials import NAMES
from berlin.auth.flows.login import LoginMap
from berlin.errors import (
    BerlinError,
    ConfigurationError,
    InvalidRequestError,
    KeyRefusedError,
    ModelNotFoundError,
    OverloadedError,
)
from berlin.gateway.access.accounts import MAX_NAME_CHARS, Accounts
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.access.throttle import Throttle
from berlin.gateway.body import read_body
from berlin.gateway.catalog import Target
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route
from berlin.gateway.observe.visit import VISIT
from berlin.language.step import CompiledStep
from berlin.recipes.recipe import load_recipe
from berlin.types import Secret

_log = logging.getLogger("berlin.gateway")


class BerlinFace:
    """Login and chat as the class `Berlin` speaks them.

    Args:
        gateway: what the faces share.
        accounts: who may log in.
        sessions: who is logged in.
    """

    name = "berlin"

    def __init__(self, gateway: Gateway, accounts: Accounts, sessions: Sessions) -> None:
        recipe = load_recipe("berlin")
        login = recipe.auth
        if not isinstance(login, LoginMap) or not isinstance(login.attach, Attachment):
            raise ConfigurationError("the Berlin recipe has no login with one token")
        self._login = CompiledStep(login.steps[0], NAMES)
        self._format = recipe.format()
        self._header, self._prefix = login.attach.header, login.attach.prefix
        self._gateway = gateway
        self._accounts = accounts
        self._sessions = sessions
        self._throttle = Throttle()
        self.prefixes: tuple[str, ...] = (login.steps[0].path, recipe.chat.path or "")

    def routes(self) -> list[Route]:
        """Return the paths of this face."""
        login, chat = self.prefixes
        return [Route("POST", login, self._log_in), Route("POST", chat, self._chat)]

    def encode_error(self, error: BerlinError) -> bytes:
        """Return the body that tells of an error."""
        return self._format.encode_error(error)

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        values = self._login.parse(await read_body(request))
        for name, value in values.items():
            if not isinstance(value, str):
                raise InvalidRequestError.about(name, "must be text")
        account, password = values["account"], Secret(values["password"])
        # By address and account: a stranger's guesses do not lock out the owner elsewhere.
        guesser = (request.remote, account[: MAX_NAME_CHARS + 1])
        self._check_guesses(guesser, account)
        right = await self._accounts.verify(account, password)
        self._check_guesses(guesser, account)  # others may have guessed at the same time
        if not right:
            self._throttle.fail(guesser)
            raise KeyRefusedError("wrong account or password")
        self._throttle.succeed(guesser)
        body = self._login.answer({"token": self._sessions.open(account)}).body
        return web.Response(
            body=body, content_type="application/json", headers={"Cache-Control": "no-store"}
        )

    def _check_guesses(self, guesser: tuple[str | None, str], account: str) -> None:
        wait = self._throttle.wait(guesser)
        if wait:
            _log.warning("login.throttled account=%r", account[:64])
            raise OverloadedError("too many wrong passwords; wait", retry_after=wait)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.getall(self._header, [])
        token = given[0].removeprefix(self._prefix) if len(given) == 1 else ""
        account = self._sessions.account(token)
        if account is None:
            raise KeyRefusedError("the token is missing, wrong or expired: log in")
        visit = request[VISIT]
        visit.key = account
        call = await self._gateway.receive(request, self._format.decode_request)
        visit.model = call.request.model
        target = self._find(call.request.model)
        return await self._gateway.answer(request, self._format, call, target, account)

    def _find(self, model: str) -> Target:
        """Return what a client means: this wire always names a model, known here or not."""
        try:
            return self._gateway.catalog.resolve(model)
        except ModelNotFoundError:
            return Target(self._gateway.catalog.default, model)
