"""The Berlin face: the Berlin recipe in reverse.

Paths, the members of each body, and the header of the token all come from the recipe, so client
and service cannot drift apart.
"""

from __future__ import annotations

from berlin.auth.attach import Attachment
from berlin.auth.credentials import NAMES
from berlin.auth.flows.login import LoginMap
from berlin.errors import (
    ConfigurationError,
    InvalidRequestError,
    KeyRefusedError,
    ModelNotFoundError,
)
from berlin.gateway import web
from berlin.gateway.access.accounts import Accounts
from berlin.gateway.access.logins import Logins
from berlin.gateway.access.sessions import Sessions
from berlin.gateway.catalog import Catalog, Target
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Face, Route
from berlin.gateway.workers.worker import Worker
from berlin.language.step import CompiledStep
from berlin.recipes.recipe import load_recipe
from berlin.types import Secret


class BerlinFace:
    """The login and chat endpoints for the class `Berlin`.

    Args:
        accounts: the accounts.
        sessions: the open sessions.
        worker: which of several workers this process is.
    """

    def __init__(self, accounts: Accounts, sessions: Sessions, worker: Worker | None) -> None:
        recipe = load_recipe("berlin")
        login = recipe.auth
        if not isinstance(login, LoginMap) or not isinstance(login.attach, Attachment):
            raise ConfigurationError("the Berlin recipe has no login with one token")
        self._login = CompiledStep(login.steps[0], NAMES)
        self._format = recipe.format()
        self._header, self._prefix = login.attach.header, login.attach.prefix
        self._accounts = accounts
        self._sessions = sessions
        self._logins = Logins(accounts, worker)
        self._paths = (login.steps[0].path, recipe.chat.path or "")

    def face(self) -> Face:
        """Return the face."""
        login, chat = self._paths
        routes = (Route("POST", login, self._log_in), Route("POST", chat, self._chat))
        return Face("berlin", self._paths, self._format.encode_error, routes)

    async def _log_in(self, gateway: Gateway, request: web.Request) -> web.StreamResponse:
        values = self._login.parse(await gateway.bodies.read_login(request))
        for name, value in values.items():
            if not isinstance(value, str):
                raise InvalidRequestError.about(name, "must be text")
        account = values["account"]
        address, fingerprint = request.visit.remote, self._accounts.fingerprint(account)
        await self._logins.check(address, account, Secret(values["password"]))
        body = self._login.answer({"token": self._sessions.open(account, fingerprint)}).body
        return web.Response(body=body, content_type="application/json")

    async def _chat(self, gateway: Gateway, request: web.Request) -> web.StreamResponse:
        visit = request.visit
        given = request.headers.getall(self._header, [])
        token = given[0].removeprefix(self._prefix) if len(given) == 1 else ""
        account = self._sessions.account(token)
        caller = self._accounts.caller(account) if account is not None else None
        if caller is None:
            raise KeyRefusedError("the token is missing, wrong or expired: log in")
        visit.key, visit.user = caller.id, caller.user
        call = await gateway.receive(request, self._format.decode_request)
        visit.model = call.request.model
        target = _find(gateway.catalog, call.request.model)
        gateway.guard.check_model(caller, target, call.request.model)
        return await gateway.answer(request, self._format, call, target, caller)


def _find(catalog: Catalog, model: str) -> Target:
    """Resolve the model a client names.

    Requests of this protocol always name a model: an unknown one goes to the default provider, if
    that accepts any.
    """
    try:
        return catalog.resolve(model)
    except ModelNotFoundError:
        if not catalog.default.any_model:
            raise
        return Target(catalog.default, model)
