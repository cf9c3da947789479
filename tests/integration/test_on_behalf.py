"""The gateway on behalf of its callers: the token of each is exchanged for one of their own.

An identity provider that checks each exchange, a service that checks whose token it gets, and a
gateway built from `berlin.toml`, all over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest

from berlin import Berlin
from berlin.config import load_config, resolve_settings
from berlin.errors import ConfigurationError, KeyRefusedError, MissingCredentialsError
from berlin.gateway.setup import build_gateway
from berlin.types import ChatRequest, Identity
from support.gateway import ANTHROPIC, OPENAI, At, make_key, serve
from support.identity_service import make_key as make_key_pair
from support.oauth_service import CHAT, HEAD, FlowService, Reply, Seen, reply
from support.token_processes import redis_server

EXCHANGE = """
[auth]
flow = "oauth2"
grant = "token_exchange"
token_url = "/token"
subject_token_type = "urn:ietf:params:oauth:token-type:access_token"
parameters = { audience = "chat" }
"""
EMBEDDINGS = """
[embeddings]
format = "openai"
model = "e"
models = ["e"]
"""
PROVIDER = """
[providers.work]
recipe = "work.toml"
client_id = "gateway"
client_secret = "secret of the gateway"
assertion = { caller = true }
"""
USERS = ("ann", "bob")


class Identities(FlowService):
    """Exchanges `token-of-NAME` for a token of NAME, and answers chats with the name.

    Attributes:
        exchanges: whose token each exchange was for.
        tokens: whose token each is, besides `token-of-NAME`.
        violations: what must never happen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[str] = []
        self.violations: list[str] = []
        self.good: set[str] = set()
        self.busy: list[Reply] = []
        self.tokens: dict[str, str] = {}
        self.answers |= {
            "/token": [self._exchange],
            "/chat": [self._chat],
            "/embeddings": [self._embed],
        }

    def _exchange(self, seen: Seen) -> Reply:
        form, subject = seen.form, seen.form["subject_token"]
        name = self.tokens.get(subject, subject.removeprefix("token-of-"))
        self.exchanges.append(name)
        if self.busy:
            return self.busy.pop()
        expected = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": subject,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": "chat",
        }
        if form != expected or not seen.headers["Authorization"].startswith("Basic "):
            self.violations.append(f"an exchange with {sorted(form)}")
        if name not in USERS:
            return reply({"error": "invalid_grant", "error_description": "expired"}, 400)
        token = f"{len(self.exchanges)}-for-{name}"
        self.good.add(token)
        return reply({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def _who(self, seen: Seen) -> str:
        token = seen.headers.get("Authorization", "").removeprefix("Bearer ")
        return token.partition("-for-")[2] if token in self.good else ""

    def _chat(self, seen: Seen) -> Reply:
        name, asked = self._who(seen), seen.json["prompt"]
        if not name:
            return reply({"code": 401, "message": "expired"}, 401)
        if name != asked:
            self.violations.append(f"the token of {name} was used by {asked}")
        return reply({"content": name})

    def _embed(self, seen: Seen) -> Reply:
        vector = [1.0] if self._who(seen) == seen.json["input"][0] else [0.0]
        return reply({"data": [{"index": 0, "embedding": vector}]})


@asynccontextmanager
async def gateway(
    folder: Path, *more: str, keys: Path | None = None
) -> AsyncIterator[tuple[At, Identities]]:
    """Run the gateway of a `berlin.toml`, and the identity provider."""
    async with Identities() as service:
        recipe = HEAD.replace('"tested"', '"work"') + EXCHANGE + CHAT + EMBEDDINGS
        (folder / "work.toml").write_text(recipe)
        text = "\n".join((PROVIDER, 'url = "{url}"', *more)).replace("{url}", service.url)
        (folder / "berlin.toml").write_text(text)
        built = build_gateway(load_config(folder / "berlin.toml"), keys)
        async with serve(gateway=built) as at:
            yield at, service


async def test_two_users_at_once(tmp_path: Path) -> None:
    """Forty requests of two users at the same time: one exchange for each, and none is mixed up."""
    async with gateway(tmp_path) as (at, service):
        answers = await asyncio.gather(
            *(
                at.ask(dialect, name, "work", key=f"token-of-{name}", stream=bool(n % 2))
                for n in range(10)
                for name in USERS
                for dialect in (OPENAI, ANTHROPIC)
            )
        )
        assert [answer.status for answer in answers] == [200] * 40
        assert {answer.text for answer in answers} == set(USERS)
        assert sorted(service.exchanges) == ["ann", "bob"]
        assert service.violations == []
        # The service never sees the callers' own tokens.
        sent = [dict(seen.headers) for seen in service.at("/chat")]
        assert "token-of-" not in json.dumps(sent)


async def test_an_expired_token_of_one_user_is_exchanged_anew(tmp_path: Path) -> None:
    """After a 401 of the service one more exchange follows, for this user only."""
    async with gateway(tmp_path) as (at, service):
        for name in USERS:
            await at.ask(OPENAI, name, "work", key=f"token-of-{name}")
        service.good = {token for token in service.good if token.endswith("bob")}
        for name in USERS:
            assert (await at.ask(OPENAI, name, "work", key=f"token-of-{name}")).status == 200
        assert service.exchanges == ["ann", "bob", "ann"]


async def test_replicas_share_the_tokens_of_callers(tmp_path: Path) -> None:
    """Two gateways on one Redis: one exchange for each user, none mixed up, none readable there."""
    async with redis_server(tmp_path / "redis") as redis:
        tokens = f'[tokens]\nstore = "{redis.url}"\nkey = "a key of the replicas"\n'
        async with gateway(tmp_path, tokens) as (first, service):
            built = build_gateway(load_config(tmp_path / "berlin.toml"), None)
            async with serve(gateway=built) as second:
                for at in (first, second, first):
                    for name in USERS:
                        answer = await at.ask(OPENAI, name, "work", key=f"token-of-{name}")
                        assert answer.text == name
            assert sorted(service.exchanges) == ["ann", "bob"]
            assert service.violations == []
        dump = await redis.command("SAVE")
        assert dump.startswith(b"+OK")
        kept = b"".join(path.read_bytes() for path in (tmp_path / "redis").rglob("*.rdb"))
        assert b"record" in kept
        assert b"token-of-" not in kept
        assert b"-for-" not in kept


async def test_a_refused_caller_is_told(tmp_path: Path) -> None:
    """A caller whose token is refused gets a 401, once asked and then remembered; others go on."""
    async with gateway(tmp_path) as (at, service):
        for _ in range(3):
            refused = await at.ask(OPENAI, "eve", "work", key="token-of-eve")
            assert refused.status == 401
            assert "does not accept your token" in refused.message
            assert "secret" not in refused.data.decode()
        assert service.exchanges == ["eve"]
        assert (await at.ask(OPENAI, "ann", "work", key="token-of-ann")).text == "ann"


async def test_without_a_token(tmp_path: Path) -> None:
    """A caller without a token of their own gets a 401 that says what to send; nothing is asked."""
    async with gateway(tmp_path) as (at, service):
        refused = await at.ask(OPENAI, "ann", "work")
        assert refused.status == 401
        assert "send your own token" in refused.message
        assert service.seen == []


async def test_a_wrong_client_secret_is_not_the_callers_fault(tmp_path: Path) -> None:
    """If the identity provider does not know the gateway, the caller gets a 502."""
    async with gateway(tmp_path) as (at, service):
        service.busy = [reply({"error": "invalid_client"}, 401)]
        assert (await at.ask(OPENAI, "ann", "work", key="token-of-ann")).status == 502


async def test_a_busy_identity_provider_is_left_alone_for_all(tmp_path: Path) -> None:
    """After a 429 with Retry-After no caller makes the gateway ask again."""
    async with gateway(tmp_path) as (at, service):
        service.busy = [reply({"error": "slow_down"}, 429, ("Retry-After", "60"))]
        for name in USERS:
            answer = await at.ask(OPENAI, name, "work", key=f"token-of-{name}")
            assert answer.status == 429
            assert 50 < int(answer.headers["Retry-After"]) <= 60
        assert service.exchanges == ["ann"]


async def test_with_keys_of_the_gateway(tmp_path: Path) -> None:
    """The gateway's key goes as x-api-key; it is never sent to the identity provider."""
    keys = tmp_path / "keys.sqlite"
    key, gone = make_key(keys, "app"), make_key(keys, "gone")
    async with gateway(tmp_path, keys=keys) as (at, service):
        both = {"x-api-key": key}
        answer = await at.ask(OPENAI, "ann", "work", key="token-of-ann", headers=both)
        assert answer.text == "ann"
        for shown, headers in ((key, {}), (gone, both)):
            refused = await at.ask(OPENAI, "ann", "work", key=shown, headers=headers)
            assert (refused.status, "your own token" in refused.message) == (401, True)
        assert service.exchanges == ["ann"]
        assert key not in str([seen.body + str(seen.headers).encode() for seen in service.seen])


async def test_a_token_of_an_issuer_is_both_key_and_identity(tmp_path: Path) -> None:
    """Where tokens of an identity provider take the place of keys, the same token is exchanged."""
    pem, public = make_key_pair()
    jwk = {**jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True), "kid": "1"}
    issuer = '[issuers.company]\nissuer = "{url}"\njwks = "{url}/jwks"\naudience = "berlin"\n'
    async with gateway(tmp_path, issuer) as (at, service):
        service.answers["/jwks"] = [reply({"keys": [jwk]})]
        for name in USERS:
            claims = {"iss": service.url, "aud": "berlin", "sub": name, "exp": time.time() + 600}
            token = jwt.encode(claims, pem, "RS256", headers={"kid": "1"})
            service.tokens[token] = name
            for dialect, headers in (
                (OPENAI, {"Authorization": f"Bearer {token}"}),
                (ANTHROPIC, {"x-api-key": token}),
            ):
                answer = await at.ask(dialect, name, "work", key="", headers=headers)
                assert (answer.status, answer.text) == (200, name)
        assert service.exchanges == ["ann", "bob"]
        forged = f"{token[:-8]}AAAAAAAA"
        for headers in ({"Authorization": f"Bearer {forged}"}, {"x-api-key": forged}):
            refused = await at.ask(OPENAI, "ann", "work", key="", headers=headers)
            assert refused.status == 401
        assert service.exchanges == ["ann", "bob"]
        assert service.violations == []


async def test_a_composed_model_passes_the_identity_on(tmp_path: Path) -> None:
    """Fallback, cache and aliases keep the users apart: nothing is answered from a cache."""
    models = '[models.best]\nfallback = ["work"]\ncache = { }\n'
    async with gateway(tmp_path, models) as (at, service):
        for name in (*USERS, *USERS):
            answer = await at.ask(OPENAI, name, "best", key=f"token-of-{name}")
            assert answer.text == name
        assert sorted(service.exchanges) == ["ann", "bob"]
        assert len(service.at("/chat")) == 4
        assert service.violations == []


async def test_embeddings(tmp_path: Path) -> None:
    """Embeddings go with the caller's token too."""
    async with gateway(tmp_path) as (at, _):
        for name in USERS:
            headers = {"Authorization": f"Bearer token-of-{name}"}
            body = {"model": "work:e", "input": name}
            async with at.session.post(
                f"{at.url}/v1/embeddings", json=body, headers=headers
            ) as answer:
                assert answer.status == 200, await answer.text()
                assert (await answer.json())["data"][0]["embedding"] == [1.0]


async def test_the_on_behalf_of_flow_of_entra(tmp_path: Path) -> None:
    """A vendor's own exchange, with the caller's token as the assertion, needs no code."""
    recipe = (
        HEAD.replace('"tested"', '"work"')
        + CHAT
        + (
            '[auth]\nflow = "oauth2"\ngrant = "jwt_bearer"\nclient_auth = "body"\n'
            'token_url = "/token"\nscope = "api://chat/.default"\n'
            'parameters = { requested_token_use = "on_behalf_of" }\n'
        )
    )
    async with FlowService() as service:
        issued = {"access_token": "of-ann", "token_type": "Bearer", "expires_in": 3600}
        service.answers["/token"] = [reply(issued)]
        (tmp_path / "work.toml").write_text(recipe)
        (tmp_path / "berlin.toml").write_text(f'{PROVIDER}url = "{service.url}"\n')
        built = build_gateway(load_config(tmp_path / "berlin.toml"), None)
        async with serve(gateway=built) as at:
            assert (await at.ask(OPENAI, "Hi", "work", key="token-of-ann")).text == "good"
        assert service.at("/token")[0].form == {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "client_id": "gateway",
            "client_secret": "secret of the gateway",
            "assertion": "token-of-ann",
            "scope": "api://chat/.default",
            "requested_token_use": "on_behalf_of",
        }
        assert service.at("/chat")[0].headers["Authorization"] == "Bearer of-ann"


async def test_off_by_default(tmp_path: Path) -> None:
    """Without `caller = true` no token of a caller goes anywhere."""
    async with gateway(tmp_path) as (at, service):
        (tmp_path / "token").write_text("token-of-ann")
        text = (tmp_path / "berlin.toml").read_text()
        text = text.replace("{ caller = true }", '{ file = "token" }')
        (tmp_path / "berlin.toml").write_text(text)
        built = build_gateway(load_config(tmp_path / "berlin.toml"), None)
        async with serve(gateway=built) as other:
            assert (await other.ask(OPENAI, "ann", "work", key="token-of-bob")).text == "ann"
        assert service.exchanges == ["ann"]
        assert "token-of-bob" not in str([(seen.body, seen.headers) for seen in service.seen])
        assert at.gateway is not built


async def test_without_a_gateway(tmp_path: Path) -> None:
    """In a program the identity belongs to the request; without one it is an error that says so."""
    async with gateway(tmp_path) as (_, service):
        settings = resolve_settings("work", load_config(tmp_path / "berlin.toml"))
        async with Berlin.from_settings(settings) as berlin:
            with pytest.raises(KeyRefusedError, match="send your own token"):
                await berlin.ask("ann")
            with pytest.raises(MissingCredentialsError, match="no caller here"):
                await berlin.token()
            request = ChatRequest.of("ann")
            assert request.identity is None
            assert repr(Identity.of("token-of-ann").token) == "***"
        assert service.seen == []


@pytest.mark.parametrize("name", ["client_secret", "api_key", "private_key"])
def test_only_a_token_is_a_callers(tmp_path: Path, name: str) -> None:
    """A secret of the gateway's own cannot be declared as the caller's."""
    config = tmp_path / "berlin.toml"
    config.write_text(f"[providers.work]\n{name} = {{ caller = true }}\n")
    with pytest.raises(ConfigurationError, match="only assertion"):
        load_config(config)
