"""A login as it is described: what each step sends, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from berlin import errors
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import LoginFlow, LoginMap, read_answer
from berlin.language.step import Step
from berlin.language.values.place import Place
from berlin.types import HttpRequest, HttpResponse, Secret

ANN = Credentials.of("ann", "hunter2")
TOKEN = {"token": "/token"}


def ok(document: object = None, *, status: int = 200, **more: Mapping[str, str]) -> HttpResponse:
    """Return an answer with JSON."""
    body = document if isinstance(document, bytes) else json.dumps(document or {}).encode()
    return HttpResponse(status, body=body, **more)


class Wire:
    """Answers requests in turn, and notes them down."""

    def __init__(self, *answers: HttpResponse) -> None:
        self._answers = list(answers)
        self.requests: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        return self._answers.pop(0)

    def headers(self, n: int) -> dict[str, str]:
        """Return the headers of a request in the clear."""
        given = self.requests[n].headers
        return {k: v.reveal() if isinstance(v, Secret) else v for k, v in given.items()}


def flow(*steps: Step, refresh: list[Step] | None = None) -> LoginFlow:
    return LoginFlow(LoginMap(list(steps), refresh or []))


async def test_json_step() -> None:
    """A step sends JSON with account and password, and takes the token by its pointer."""
    wire = Wire(ok({"data": {"token": "t1"}}))
    body: dict[str, Any] = {"user": {"name": "{account}"}, "pass": "{password}", "app": 7}
    grant = await flow(Step("/login", json=body, take={"token": "/data/token"})).obtain(
        ANN, wire.send
    )
    assert grant.token.reveal() == "t1"
    sent = {"user": {"name": "ann"}, "pass": "hunter2", "app": 7}
    assert json.loads(wire.requests[0].body) == sent
    assert wire.headers(0)["Content-Type"] == "application/json"


async def test_form_step() -> None:
    """A step sends a form whose values are encoded."""
    wire = Wire(ok({"token": "t1"}))
    step = Step("/login", form={"u": "{account}", "p": "{password}", "n": 1}, take=TOKEN)
    await flow(step).obtain(Credentials.of("ann", "a&b=c+d é"), wire.send)
    assert wire.requests[0].body == b"u=ann&p=a%26b%3Dc%2Bd+%C3%A9&n=1"
    assert wire.headers(0)["Content-Type"] == "application/x-www-form-urlencoded"


async def test_value_between_steps() -> None:
    """A later step uses what an earlier one took from JSON, a header or a cookie."""
    first = Step(
        "/start",
        method="GET",
        take={
            "nonce": "/nonce",
            "csrf": Place(header="X-CSRF"),
            "seed": Place(cookie="seed"),
        },
    )
    second = Step(
        "/login", json={"n": "{nonce}", "s": "{seed}"}, headers={"X-C": "c-{csrf}"}, take=TOKEN
    )
    wire = Wire(
        ok({"nonce": 41}, headers={"x-csrf": "abc"}, cookies={"seed": "s1"}), ok({"token": "t1"})
    )
    await flow(first, second).obtain(ANN, wire.send)
    assert (wire.requests[0].method, wire.requests[0].body) == ("GET", b"")
    assert json.loads(wire.requests[1].body) == {"n": 41, "s": "s1"}
    assert wire.headers(1)["X-C"] == "c-abc"
    assert wire.headers(1)["Cookie"] == "seed=s1"


async def test_cookies_stay() -> None:
    """Cookies go on through the steps; a later value of one name replaces the earlier."""
    steps = [Step(f"/{n}") for n in range(2)]
    last = Step("/2", take={"token": Place(cookie="*")})
    wire = Wire(ok(cookies={"a": "1", "b": "1"}), ok(cookies={"b": "2"}), ok(cookies={"c": "3"}))
    grant = await flow(*steps, last).obtain(ANN, wire.send)
    assert "Cookie" not in wire.headers(0)
    assert wire.headers(1)["Cookie"] == "a=1; b=1"
    assert wire.headers(2)["Cookie"] == "a=1; b=2"
    assert grant.token.reveal() == "a=1; b=2; c=3"


async def test_no_cookie() -> None:
    """A login that is to set a cookie, and sets none, gives no token."""
    login = flow(Step("/login", take={"token": Place(cookie="*")}))
    with pytest.raises(errors.AuthenticationError, match="the login gave no token"):
        await login.obtain(ANN, Wire(ok()).send)


async def test_value_missing_between_steps() -> None:
    """A value that a later step needs, and that is not there, ends the login with its name."""
    login = flow(
        Step("/start", take={"nonce": "/nonce"}), Step("/b", json={"n": "{nonce}"}, take=TOKEN)
    )
    wire = Wire(ok({"other": {"place": 1}}))
    with pytest.raises(errors.ProtocolError) as caught:
        await login.obtain(ANN, wire.send)
    assert caught.value.message == (
        "the login: /start gave no nonce; it says: its answer has /other/place"
    )


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_header_with_a_line_break(value: str) -> None:
    """A value that would end a header is never sent in one."""
    login = flow(
        Step("/start", take={"csrf": "/csrf"}),
        Step("/login", headers={"X-CSRF": "{csrf}"}, take=TOKEN),
    )
    wire = Wire(ok({"csrf": value}))
    expected = (
        "the header X-CSRF would contain a line break or a control character; nothing was sent"
    )
    with pytest.raises(errors.ProtocolError, match=expected):
        await login.obtain(ANN, wire.send)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_refused(status: int) -> None:
    """The statuses with which services refuse a password are a refusal, with their words."""
    login = flow(Step("/login", json={"a": "{account}"}, take=TOKEN))
    with pytest.raises(errors.AuthenticationError) as caught:
        await login.obtain(ANN, Wire(ok({"msg": "wrong"}, status=status)).send)
    assert caught.value.message == "the service refuses account 'ann': wrong"
    assert caught.value.status == status


@pytest.mark.parametrize("code", [400, 401, 403, 422, "401"])
@pytest.mark.parametrize("name", ["code", "status"])
async def test_refused_inside_a_200(name: str, code: int | str) -> None:
    """A refusal that stands inside a 200 is a refusal."""
    login = flow(Step("/login", take=TOKEN))
    wire = Wire(ok({name: code, "message": "wrong", "token": "t1"}))
    with pytest.raises(errors.AuthenticationError, match="refuses account 'ann': wrong"):
        await login.obtain(ANN, wire.send)


@pytest.mark.parametrize("code", [0, 200, "200", 1401, None])
async def test_good_code_inside_a_200(code: object) -> None:
    """Another code inside a 200 is no refusal."""
    wire = Wire(ok({"code": code, "token": "t1"}))
    assert (await flow(Step("/login", take=TOKEN)).obtain(ANN, wire.send)).token.reveal() == "t1"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, errors.RequestRejectedError),
        (302, errors.RedirectError),
        (429, errors.RateLimitError),
        (503, errors.ServiceUnavailableError),
    ],
)
async def test_other_status(status: int, kind: type[errors.BerlinError]) -> None:
    """Every other status that is no success is the error that it always is."""
    with pytest.raises(kind, match=rf"the service answers {status}"):
        await flow(Step("/login", take=TOKEN)).obtain(ANN, Wire(ok(status=status)).send)


async def test_no_json() -> None:
    """A page instead of JSON is reported without quoting it."""
    with pytest.raises(errors.ProtocolError, match="the login answers 200: a web page instead"):
        await flow(Step("/login", take=TOKEN)).obtain(ANN, Wire(ok(b"<html>Hi")).send)


async def test_refresh() -> None:
    """The refresh steps use the refresh token; the old one stays if there is no new one."""
    refresh = [Step("/refresh", json={"r": "{refresh_token}"}, take=TOKEN)]
    login = flow(Step("/login", take=TOKEN), refresh=refresh)
    wire = Wire(ok({"token": "t2"}))
    grant = await login.renew(ANN, Secret("r1"), wire.send)
    assert grant is not None
    assert json.loads(wire.requests[0].body) == {"r": "r1"}
    assert (grant.token, grant.refresh_token) == (Secret("t2"), Secret("r1"))


async def test_no_refresh_steps() -> None:
    """A login without refresh steps has nothing to renew with."""
    assert await flow(Step("/login", take=TOKEN)).renew(ANN, Secret("r"), Wire().send) is None


def test_needs() -> None:
    """A login needs what its placeholders name, in bodies and in headers."""
    assert flow(Step("/a", json={"x": "{account}"}, take=TOKEN)).needs == ("account",)
    both = flow(
        Step("/a", headers={"k": "{api_key}"}), Step("/b", form={"p": "{password}"}, take=TOKEN)
    )
    assert both.needs == ("password", "api_key")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Step("/a", json={}, form={}, take=TOKEN)], "the step /a has both json and form"),
        ([Step("/a", json={"x": "{account}"})], 'no step of [auth] takes a "token"'),
        ([], 'no step of [auth] takes a "token"'),
        ([Step("/a", json={"x": "{acount}"}, take=TOKEN)], "unknown placeholder {acount} at /x"),
        ([Step("/a", take={"token": "token"})], "'token' is not a JSON Pointer"),
    ],
)
def test_wrong_description(steps: list[Step], said: str) -> None:
    """A description that cannot be right is refused before anything is sent."""
    with pytest.raises(errors.ConfigurationError) as caught:
        flow(*steps)
    assert said in caught.value.message


@pytest.mark.parametrize("code", [{"a": 1}, [401], None, True, 1.5, "9" * 5000])
def test_an_answer_with_an_odd_code_is_no_refusal(code: object) -> None:
    """A member named like a code may hold anything; only a status that refuses counts."""
    body = json.dumps({"status": code, "token": "t"}).encode()
    assert read_answer(HttpResponse(200, body=body), "ann", "the login")["token"] == "t"
