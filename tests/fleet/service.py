"""The service behind the fleet: a login, tokens that expire, and a log of every request it saw."""

from __future__ import annotations

import time
from collections.abc import Iterator
from secrets import token_hex

import msgspec
from aiohttp import web

from berlin.types.usage import estimate_tokens
from support.chat_service import Answer, ChatService, Piece, Request

LIFETIME_S = 10.0


class Seen(msgspec.Struct):
    """A request that the service answers.

    Attributes:
        id: the gateway's id of it.
        key: the name of the client's key, which the prompt begins with.
        sent_at: when the client sent it, on the monotonic clock; the prompt's second word.
        at: when it arrived here, on the same clock: the gateway admitted it in between.
        prompt: the characters of its prompt.
        sent: the characters of what was sent of its answer.
    """

    id: str
    key: str
    sent_at: float
    at: float
    prompt: int
    sent: int = 0

    @property
    def tokens(self) -> int:
        """What it has used so far, as Berlin estimates it."""
        return estimate_tokens(self.prompt) + estimate_tokens(self.sent)


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
        self.pieces = self._echo

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
        self.log.append(Seen(id, key, float(sent_at), now, len(prompt)))
        self.chats.clear()  # the log is enough, and small
        return None

    def _echo(self, request: Request) -> Iterator[Piece]:
        words = str(request.json["prompt"]).split(" ")
        seen = next(seen for seen in reversed(self.log) if seen.sent_at == float(words[1]))
        for word in words:
            yield 0.01
            seen.sent += len(word) + 1
            yield f"{word} "
