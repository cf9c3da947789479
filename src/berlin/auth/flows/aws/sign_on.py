"""The keys of a person's role, by a login with AWS IAM Identity Center.

A device authorization (RFC 8628, in JSON) gives a token for some hours; the portal gives keys for
it. What the next keys need (the client, its token, a refresh token) is kept as one refresh token.

Sources: the API references of AWS SSO OIDC (RegisterClient, StartDeviceAuthorization, CreateToken)
and of the AWS SSO Portal (GetRoleCredentials), docs.aws.amazon.com/singlesignon/latest.
"""

from __future__ import annotations

import re
import time
from typing import TypeVar

import msgspec

from berlin.auth.contract import Person, Send
from berlin.auth.credentials import Credentials
from berlin.auth.flows.aws.keys import read_keys
from berlin.auth.flows.aws.table import SsoMap
from berlin.auth.flows.login import read_answer
from berlin.auth.flows.oauth2.device import read_code, wait_for_person
from berlin.auth.flows.oauth2.table import DEVICE_GRANT
from berlin.auth.grant import Grant
from berlin.errors import AuthenticationError, MissingCredentialsError, ProtocolError
from berlin.types import HttpRequest, HttpResponse, Secret

SCOPE = "sso:account:access"  # the one that gives refresh tokens
# A token that expires while the keys are asked for is of no use.
AHEAD_S = 60.0

_T = TypeVar("_T")


class SingleSignOn:
    """Obtains the keys of a role; see `Flow`."""

    needs: tuple[str, ...] = ()
    asks = True
    needs_person = True

    def __init__(self, described: SsoMap) -> None:
        self._map = described

    async def attend(self, credentials: Credentials, send: Send, person: Person) -> Grant:
        """Let a person enter a code, and return the keys of the role; see `Flow`."""
        form = {"clientName": "berlin", "clientType": "public", "scopes": [SCOPE]}
        answer = await send(self._post("/client/register", form))
        client = _read(answer, _Client, "the registration of this client")
        form = {**client.named, "startUrl": self._map.start_url}
        answer = await send(self._post("/device_authorization", form))
        code = read_code(answer, _snake_case)
        person.show_code(code)
        device_code = code.device_code.reveal()
        form = {**client.named, "grantType": DEVICE_GRANT, "deviceCode": device_code}
        tokens = await wait_for_person(code, lambda: send(self._post("/token", form)))
        return await self._keys(_session(client, _read(tokens, _Tokens, "the login")), send)

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Refuse: only a person can log in; see `Flow`."""
        raise MissingCredentialsError("a person has to log in first")

    async def renew(self, credentials: Credentials, refresh_token: Secret, send: Send) -> Grant:
        """Return the next keys of the role, with a new token if necessary; see `Flow`."""
        try:
            session = msgspec.json.decode(refresh_token.reveal(), type=_Session)
        except msgspec.DecodeError as error:
            raise AuthenticationError("the stored login is of another kind") from error
        if time.time() < session.expires_at - AHEAD_S:
            try:
                return await self._keys(session, send)
            except AuthenticationError as error:
                if error.status != 401:  # the role was taken away, which no new token changes
                    raise
        return await self._keys(await self._refreshed(session, send), send)

    async def _refreshed(self, session: _Session, send: Send) -> _Session:
        client = session.client
        if not session.refresh_token or 0 < client.expires_at <= time.time():
            raise AuthenticationError("the single sign-on session has expired", status=401)
        form = {**client.named, "grantType": "refresh_token", "refreshToken": session.refresh_token}
        tokens = _read(await send(self._post("/token", form)), _Tokens, "the refresh")
        renewed = _session(client, tokens)
        if renewed.refresh_token:
            return renewed
        return msgspec.structs.replace(renewed, refresh_token=session.refresh_token)

    async def _keys(self, session: _Session, send: Send) -> Grant:
        url = f"{self._map.keys_url}/federation/credentials"
        query: dict[str, str | Secret] = {
            "account_id": self._map.account,
            "role_name": self._map.role,
        }
        headers: dict[str, str | Secret] = {
            "x-amz-sso_bearer_token": Secret(session.access_token),
            "Accept": "application/json",
        }
        response = await send(HttpRequest("GET", url, headers, query=query))
        where = f"the role {self._map.role} of account {self._map.account}"
        try:
            grant = read_keys(response, where, "roleCredentials")
        except AuthenticationError as error:
            error.args = (f"{error.message} (for {where})", *error.args[1:])
            raise
        kept = Secret(msgspec.json.encode(session).decode())
        return msgspec.structs.replace(grant, refresh_token=kept)

    def _post(self, path: str, form: object) -> HttpRequest:
        headers: dict[str, str | Secret] = {
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        url = f"{self._map.login_url}{path}"
        return HttpRequest("POST", url, headers, body=msgspec.json.encode(form))


class _Client(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="clientId")
    secret: str = msgspec.field(name="clientSecret")
    expires_at: float = msgspec.field(name="clientSecretExpiresAt", default=0.0)

    @property
    def named(self) -> dict[str, str]:
        """The members that identify the client in a request."""
        return {"clientId": self.id, "clientSecret": self.secret}


class _Tokens(msgspec.Struct, frozen=True, rename="camel"):
    access_token: str
    expires_in: float
    refresh_token: str | None = None


class _Session(msgspec.Struct, frozen=True):
    """The values needed to get the next keys."""

    client: _Client
    access_token: str
    expires_at: float
    refresh_token: str = ""


def _snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _session(client: _Client, tokens: _Tokens) -> _Session:
    expires_at = time.time() + tokens.expires_in
    return _Session(client, tokens.access_token, expires_at, tokens.refresh_token or "")


def _read(response: HttpResponse, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(read_answer(response, "", where), kind, strict=False)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"{where}: {error}") from error
