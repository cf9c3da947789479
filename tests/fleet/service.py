"""The service behind the fleet: a login, tokens that expire, and a log of every request it saw."""

from __future__ import annotations

import time
from secrets import token_hex

import msgspec
from aiohttp import web

from berlin.types.usage import estimate_tokens
from support.chat_service import Answer, ChatService, Piece, Request

LIFETIME_S = 10.0


class Seen(msgspec.Struct, frozen=True):
    """A request that the service has answered.

    Attributes:
        id: the gateway's id of it.
        key: the name of the client's key, which the prompt begins with.
        sent_at: when the client sent it, on the monotonic clock; the prompt's second word.
        at: when it arrived here, on the same clock: the gateway admitted it in between.
        tokens: how many it has with its whole answer, as Berlin estimates them.
    """

    id: str
    key: str
    sent_at: float
    at: float
    tokens: int


class Service(ChatService):
    """Answers with the words of the prompt; a token is good for `LIFETIME_S`.

    Attributes:
        log: the requests that it has answered.
        logged_in_at: when each token was issued, on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Seen] = []
        self.logged_in_at: list[float] = []
        self._issued: dict[str, float] = {}
        self.on_chat = self._admit
        self.pieces = _echo

    async def listen(self, address: str) -> None:
        """Listen on another address too; the URL becomes that one's."""
        site = web.TCPSite(self._runner, address, 0, backlog=4096)
        await site.start()
        port = self._runner.addresses[-1][1]
        self.url = f"http://{address}:{port}/{self.url.rpartition('/')[2]}"

    def issue(self, account: str = "account") -> str:
        """Return a new token."""
        token = super().issue(account)
        self._issued[token] = time.monotonic()
        self.logged_in_at.append(time.monotonic())
        return token

    async def _admit(self, request: Request) -> Answer | None:
        token, now = request.token or "", time.monotonic()
        if now - self._issued.get(token, 0.0) > LIFETIME_S:
            self.revoke(token)
            return Answer(401, {"message": "the token has expired"})
        headers = {name.lower(): value for name, value in request.headers.items()}
        prompt = str(request.json["prompt"])
        key, sent_at, *_ = prompt.split(" ")
        id = headers.get("x-request-id", token_hex(4))
        # The answer repeats the prompt.
        used = 2 * estimate_tokens(len(prompt))
        self.log.append(Seen(id, key, float(sent_at), now, used))
        self.chats.clear()  # the log is enough, and small
        return None


def _echo(request: Request) -> list[Piece]:
    words = str(request.json["prompt"]).split(" ")
    return [piece for word in words for piece in (0.01, f"{word} ")]
