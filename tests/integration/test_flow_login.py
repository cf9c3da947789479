"""The login flow against a real service: steps, cookies, expiry and refresh."""

from __future__ import annotations

import base64
import json
import time
import traceback
from pathlib import Path

import pytest

from berlin import errors
from support.clock import pass_time
from support.described import LOGIN
from support.oauth_service import GOOD, FlowService, Reply, Seen, provider, reply

ANN = {"account": "ann", "password": "p\"ä\n'&="}

STEPS = """
[auth]
flow = "login"
attach = { header = "token" }

[[auth.steps]]
path = "/start"
method = "GET"
take = { csrf = { header = "X-CSRF" }, seed = { cookie = "seed" }, nonce = "/nonce" }

[[auth.steps]]
path = "/account"
form = { login = "{account}", nonce = "{nonce}" }
headers = { X-CSRF = "{csrf}" }
take = { ticket = "/ticket" }

[[auth.steps]]
path = "/password"
json = { password = "{password}", ticket = "{ticket}", seed = "{seed}" }
take = { token = "/data/token" }
"""

ONE_STEP = LOGIN.replace('"/token" }', '"/token"TAKE }')

REFRESH = (
    ONE_STEP.replace("TAKE", ', refresh_token = "/refresh", expires_in = "/in"')
    + """
[[auth.refresh]]
path = "/refresh"
json = { r = "{refresh_token}" }
take = { token = "/token", refresh_token = "/refresh", expires_in = "/in" }
"""
)


async def test_several_steps(tmp_path: Path) -> None:
    """Steps in JSON and as a form hand values and cookies on, and end in a token."""
    async with FlowService() as service:
        service.answers |= {
            "/start": [
                reply(
                    {"nonce": 7},
                    200,
                    ("X-CSRF", "c1"),
                    ("Set-Cookie", "seed=s1; Path=/; HttpOnly"),
                    ("Set-Cookie", "lang=de"),
                )
            ],
            "/account": [reply({"ticket": "k1"}, 200, ("Set-Cookie", "lang=en"))],
            "/password": [reply({"data": {"token": "t1"}})],
        }
        async with provider(tmp_path, service.url, STEPS, **ANN) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
            assert (await berlin.ask("Hello")).text == "good"
    start, account, password, chat, _ = service.seen
    assert service.paths == ["/start", "/account", "/password", "/chat", "/chat"]
    assert (start.method, start.cookies, start.body) == ("GET", {}, b"")
    assert account.form == {"login": "ann", "nonce": "7"}
    assert account.headers["X-CSRF"] == "c1"
    assert account.cookies == {"seed": "s1", "lang": "de"}
    assert password.json == {"password": ANN["password"], "ticket": "k1", "seed": "s1"}
    assert password.cookies == {"seed": "s1", "lang": "en"}
    assert (chat.headers["token"], chat.cookies) == ("t1", {})


async def test_session_cookies(tmp_path: Path) -> None:
    """The cookies that a login sets can be all that a chat needs; a 401 makes a new session."""
    auth = """
[auth]
flow = "login"
attach = { cookie = "*" }

[[auth.steps]]
path = "/login"
form = { a = "{account}", p = "{password}" }
take = { token = { cookie = "*" } }
"""
    async with FlowService() as service:

        def log_in(seen: Seen) -> Reply:
            n = len(service.at("/login"))
            return reply(None, 204, ("Set-Cookie", f"sid=s{n}; Secure"), ("Set-Cookie", "u=ann"))

        def chat(seen: Seen) -> Reply:
            return GOOD if seen.cookies.get("sid") == "s2" else reply({"message": "no"}, 401)

        service.answers |= {"/login": [log_in], "/chat": [chat]}
        async with provider(tmp_path, service.url, auth, **ANN) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert service.paths == ["/login", "/chat", "/login", "/chat"]
    assert [seen.headers["Cookie"] for seen in service.at("/chat")] == [
        "sid=s1; u=ann",
        "sid=s2; u=ann",
    ]


def jwt(until: float) -> str:
    """Return a JSON Web Token that is good until then."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": until}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.mark.parametrize(
    ("take", "value"),
    [
        (', expires_in = "/until"', lambda: 40),
        ("", lambda: None),
    ],
    ids=["seconds", "jwt"],
)
async def test_expiry(take: str, value: object, tmp_path: Path) -> None:
    """A token is renewed after the seconds of the answer, or at the time in a JWT."""
    async with FlowService() as service:

        def log_in(seen: Seen) -> Reply:
            until = value()
            n = len(service.at("/login"))
            token = jwt(time.time() + 40) + f"{n}" if until is None else f"t{n}"
            return reply({"token": token, "until": until})

        service.answers["/login"] = [log_in]
        auth = ONE_STEP.replace("TAKE", take)
        async with provider(tmp_path, service.url, auth, **ANN) as berlin:
            for _ in range(3):
                await berlin.ask("Hello")
            assert service.paths == ["/login", "/chat", "/chat", "/chat"]
            pass_time(berlin, 41)
            await berlin.ask("Hello")
        assert service.paths[4:] == ["/login", "/chat"]
    tokens = [seen.headers["token"] for seen in service.at("/chat")]
    assert tokens[0] == tokens[2] != tokens[3]


async def test_refresh(tmp_path: Path) -> None:
    """An expired token is renewed with the refresh token, each time with the latest."""
    async with FlowService() as service:
        service.answers |= {
            "/login": [reply({"token": "t1", "refresh": "r1", "in": 20})],
            "/refresh": [
                reply({"token": "t2", "refresh": "r2", "in": 20}),
                reply({"token": "t3", "in": 20}),
                reply({"token": "t4", "in": 60}),
            ],
        }
        async with provider(tmp_path, service.url, REFRESH, **ANN) as berlin:
            for _ in range(4):
                await berlin.ask("Hello")
                pass_time(berlin, 21)
    assert [seen.json for seen in service.at("/refresh")] == [{"r": "r1"}, {"r": "r2"}, {"r": "r2"}]
    assert [seen.headers["token"] for seen in service.at("/chat")] == ["t1", "t2", "t3", "t4"]
    assert len(service.at("/login")) == 1


async def test_refresh_after_a_401(tmp_path: Path) -> None:
    """A token that is refused before its time is renewed with the refresh token too."""
    async with FlowService() as service:
        service.answers |= {
            "/login": [reply({"token": "t1", "refresh": "r1", "in": 60})],
            "/refresh": [reply({"token": "t2", "refresh": "r2", "in": 60})],
            "/chat": [reply({"message": "old"}, 401), GOOD],
        }
        async with provider(tmp_path, service.url, REFRESH, **ANN) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert service.paths == ["/login", "/chat", "/refresh", "/chat"]


@pytest.mark.parametrize("refusal", [reply({"message": "too old"}, 401), reply({"code": 401})])
async def test_refresh_refused(refusal: Reply, tmp_path: Path) -> None:
    """A refresh token that is no longer good leads to a full login."""
    async with FlowService() as service:
        service.answers |= {
            "/login": [
                reply({"token": "t1", "refresh": "r1", "in": 60}),
                reply({"token": "t2", "refresh": "r2", "in": 60}),
            ],
            "/refresh": [refusal],
            "/chat": [reply({"message": "old"}, 401), GOOD],
        }
        async with provider(tmp_path, service.url, REFRESH, **ANN) as berlin:
            assert (await berlin.ask("Hello")).text == "good"
    assert service.paths == ["/login", "/chat", "/refresh", "/login", "/chat"]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (reply("<html>Please wait</html>"), errors.ProtocolError),
        (reply({"data": {}}), errors.AuthenticationError),
        (reply({"token": 7}), errors.ProtocolError),
        (reply({"token": "a\r\nb: c"}), errors.ProtocolError),
        (reply(b'{"token": "\xff"}'), errors.ProtocolError),
        (reply([1]), errors.ProtocolError),
        (reply({"message": "busy"}, 503), errors.ServiceUnavailableError),
        (reply({"message": "moved"}, 302, ("Location", "/other")), errors.RedirectError),
    ],
)
async def test_bad_answers(script: Reply, kind: type[errors.BerlinError], tmp_path: Path) -> None:
    """What a login answers instead of a token is a typed error, and no chat is sent."""
    auth = ONE_STEP.replace("TAKE", ', expires_at = "/until"')
    async with FlowService() as service:
        service.answers["/login"] = [script]
        async with provider(tmp_path, service.url, auth, **ANN) as berlin:
            with pytest.raises(errors.BerlinError) as caught:
                await berlin.ask("Hello")
        assert service.at("/chat") == []
    assert type(caught.value) is kind


async def test_refresh_token_is_not_told(tmp_path: Path) -> None:
    """A service that repeats the refresh token does not get it into an error."""
    async with FlowService() as service:
        service.answers |= {
            "/login": [
                reply({"token": "t1", "refresh": "secret-refresh", "in": 60}),
            ],
            "/refresh": [lambda seen: reply(f"no good: {seen.json['r']}", 502)],
            "/chat": [reply({"message": "old"}, 401)],
        }
        async with provider(tmp_path, service.url, REFRESH, **ANN) as berlin:
            with pytest.raises(errors.ServiceUnavailableError, match="no good") as caught:
                await berlin.ask("Hello")
    assert "secret-refresh" not in "".join(traceback.format_exception(caught.value))


async def test_echo_in_the_chain(tmp_path: Path) -> None:
    """A login that repeats the password gets it into no error, not into its causes either."""
    async with FlowService() as service:
        service.answers["/login"] = [
            lambda seen: reply({"message": f"wrong: {seen.json['p']}"}, 401)
        ]
        given = {"account": "ann", "password": "swordfish-77"}
        auth = ONE_STEP.replace("TAKE", ', expires_in = "/in"')
        async with provider(tmp_path, service.url, auth, **given) as berlin:
            for _ in range(2):
                with pytest.raises(errors.AuthenticationError, match="wrong: ") as caught:
                    await berlin.ask("Hello")
                shown = "".join(traceback.format_exception(caught.value))
                assert "swordfish-77" not in shown


async def test_the_machines_own_platform_is_asked_directly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy sees a request to the metadata service: it would ask that of its own machine."""
    monkeypatch.setattr("berlin.types.endpoint._METADATA", frozenset({"127.0.0.1"}))
    async with FlowService() as service, FlowService() as proxy:
        service.answers["/metadata"] = [reply(b"  the-token \n")]
        auth = f"""
            [auth]
            flow = "login"
            [[auth.steps]]
            method = "GET"
            path = "{service.url}/metadata"
            take = {{ token = {{ body = "text" }} }}
        """
        proxy_url = proxy.url.rpartition("/")[0]
        async with provider(tmp_path, service.url, auth, proxy=proxy_url) as berlin:
            assert (await berlin.token()).value.reveal() == "the-token"
            with pytest.raises(errors.BerlinError):
                await berlin.ask("Hello")  # the chat goes to the proxy, which knows no chat
        assert service.paths == ["/metadata"]
        assert len(proxy.seen) == 1
