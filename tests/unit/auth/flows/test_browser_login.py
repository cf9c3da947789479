"""Logins as browsers do them: CSRF tokens, redirects, cookies, one-time codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from berlin import errors
from berlin.auth.authenticator import Authenticator, ServiceLogin
from berlin.auth.credentials import Credentials
from berlin.auth.flows.login import LoginFlow, LoginMap
from berlin.auth.grant import Grant
from berlin.auth.tokens.source import TokenSource
from berlin.types import HttpRequest, HttpResponse, Secret

ANN = Credentials.checked(
    "a test", account="ann", password="hunter2", totp_seed="GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
)
FORM = b'<html><input name="_csrf" value="c1&amp;"></html>'
DJANGO: dict[str, Any] = {
    "flow": "login",
    "attach": {"cookie": "*"},
    "steps": [
        {"path": "/login/", "method": "GET", "take": {"csrf": {"field": "_csrf"}}},
        {
            "path": "/login/",
            "form": {"user": "{account}", "pass": "{password}", "_csrf": "{csrf}"},
            "success": [302],
            "refused_at": "/login",
            "take": {"token": {"cookie": "*"}},
        },
    ],
}


def answer(status: int = 200, body: bytes = b"", **more: Mapping[str, str]) -> HttpResponse:
    return HttpResponse(status, body=body, **more)


async def log_in(
    auth: Mapping[str, Any], *answers: HttpResponse
) -> tuple[Grant, list[HttpRequest]]:
    """Log in against these answers; return the grant and the requests."""
    requests: list[HttpRequest] = []
    left = list(answers)

    async def send(request: HttpRequest) -> HttpResponse:
        requests.append(request)
        return left.pop(0)

    flow = msgspec.convert(auth, LoginMap).flow()
    return await flow.obtain(ANN, send), requests


def changed(n: int, **members: Any) -> dict[str, Any]:
    """Return the login with a step changed."""
    steps = [dict(step) for step in DJANGO["steps"]]
    steps[n] |= members
    return {**DJANGO, "steps": steps}


async def test_a_form_with_a_csrf_field_and_a_redirect() -> None:
    """The field of the page goes with the form, and a redirect with a cookie is success."""
    grant, requests = await log_in(
        DJANGO,
        answer(body=FORM, cookies={"csrftoken": "k"}),
        answer(302, headers={"location": "/"}, cookies={"sessionid": "s1"}),
    )
    assert grant.token.reveal() == "csrftoken=k; sessionid=s1"
    sent = parse_qs(requests[1].body.decode())
    assert sent == {"user": ["ann"], "pass": ["hunter2"], "_csrf": ["c1&"]}
    cookie = requests[1].headers["Cookie"]
    assert isinstance(cookie, Secret)
    assert cookie.reveal() == "csrftoken=k"


@pytest.mark.parametrize(
    "refusal", [answer(200, FORM), answer(302, headers={"location": "/login?error"})]
)
async def test_a_form_that_comes_again(refusal: HttpResponse) -> None:
    """The form again, or a redirect back to it, means that the password is wrong."""
    with pytest.raises(errors.AuthenticationError, match="refuses account 'ann'"):
        await log_in(DJANGO, answer(body=FORM), refusal)


async def test_a_page_without_the_field() -> None:
    """A page that has changed is told, with what was looked for."""
    with pytest.raises(errors.ProtocolError, match="gave no csrf"):
        await log_in(DJANGO, answer(body=b"<html></html>"))


async def test_a_redirect_that_is_followed() -> None:
    """A redirect is followed by hand with GET, and cookies of all answers count."""
    grant, requests = await log_in(
        changed(1, follow=True),
        answer(body=FORM),
        answer(302, headers={"location": "/callback?x=1"}, cookies={"a": "1", "old": "x"}),
        answer(303, headers={"location": "/home"}, cookies={"b": "2", "old": ""}),
        answer(200, b"<html>Welcome</html>"),
    )
    assert grant.token.reveal() == "a=1; b=2"
    assert [(r.method, r.path, r.is_found) for r in requests[2:]] == [
        ("GET", "/callback?x=1", True),
        ("GET", "/home", True),
    ]
    assert all(r.body == b"" for r in requests[2:])


async def test_h38_a_redirect_loop() -> None:
    """Redirects end after five."""
    loop = answer(302, headers={"location": "/again"})
    with pytest.raises(errors.ProtocolError, match="redirects more than 5 times"):
        await log_in(changed(1, follow=True), answer(body=FORM), *[loop] * 9)


async def test_h37_a_redirect_that_would_repeat_the_password() -> None:
    """A redirect that keeps the method is not followed: it would send the form elsewhere."""
    with pytest.raises(errors.ProtocolError, match="answers 307"):
        await log_in(
            changed(1, follow=True, success=[]),
            answer(body=FORM),
            answer(307, headers={"location": "/x"}),
        )


@pytest.mark.parametrize(
    ("place", "found", "token"),
    [
        ({"cookie": "XSRF", "decode": "url"}, answer(cookies={"XSRF": "a%3D%3D"}), "a=="),
        ({"meta": "csrf"}, answer(body=b'<meta name="csrf" content="m1">'), "m1"),
        (
            {"script": "window.__S", "at": "/user/token"},
            answer(body=b'<script>window.__S = {"user":{"token":"s1"}};</script>'),
            "s1",
        ),
        ({"pointer": "/data", "at": "/t"}, answer(body=b'{"data":"{\\"t\\":\\"j1\\"}"}'), "j1"),
        (
            {"pointer": "/d", "decode": "base64url", "at": "/t"},
            answer(body=b'{"d":"eyJ0IjoiYjEifQ"}'),
            "b1",
        ),
        (
            {"header": "location", "parameter": "code"},
            answer(302, headers={"location": "https://x/cb#code=h1&state=2"}),
            "h1",
        ),
    ],
)
async def test_where_a_token_may_stand(
    place: dict[str, str], found: HttpResponse, token: str
) -> None:
    """A value is taken out of a cookie, a page, a script, JSON in JSON, or a URL."""
    success = [302] if found.status == 302 else []
    steps = [{"path": "/x", "method": "GET", "success": success, "take": {"token": place}}]
    grant, _ = await log_in({"flow": "login", "steps": steps}, found)
    assert grant.token.reveal() == token


@pytest.mark.parametrize(
    "place",
    [
        {"pointer": "/data", "at": "/t"},
        {"pointer": "/data", "decode": "base64url", "at": "/t"},
        {"script": "window.__S", "at": "/user/token"},
        {"header": "x", "parameter": "code"},
        {"cookie": "XSRF", "decode": "url"},
    ],
)
@pytest.mark.parametrize("body", [b'{"data":"\\u00e9 {"}', b'{"data":[1]}', b"{}"])
async def test_values_that_are_not_there(place: dict[str, str], body: bytes) -> None:
    """What cannot be decoded, or is not there, is no token: never a bare exception."""
    steps = [{"path": "/x", "method": "GET", "take": {"token": place}}]
    with pytest.raises(errors.AuthenticationError, match="gave no token"):
        await log_in({"flow": "login", "steps": steps}, answer(body=body))


async def test_one_time_codes_and_shared_values() -> None:
    """`{totp}` is made of the stored seed, and what `let` names is the same in all steps."""
    step = {
        "path": "/x",
        "json": {"code": "{totp}", "nonce": "{nonce}", "at": "{unix}"},
        "headers": {"X-Sign": "{hmac_sha256:{password}:{method} {path} {sha256:{body}}}"},
    }
    auth = {
        "flow": "login",
        "let": {"nonce": "{random_hex:8}"},
        "steps": [step, {**step, "take": {"token": "/t", "user_id": "/id"}}],
    }
    grant, requests = await log_in(auth, answer(body=b"{}"), answer(body=b'{"t":"t1","id":7}'))
    first, second = (msgspec.json.decode(r.body) for r in requests)
    assert first == second
    assert len(first["nonce"]) == 8
    assert first["code"].isdecimal()
    assert grant.values == {"user_id": "7"}
    assert LoginFlow(msgspec.convert(auth, LoginMap)).needs == ("password", "totp_seed")


async def test_a_code_that_a_person_types() -> None:
    """A login with `{code}` needs a person; without one it says so."""
    auth = {
        "flow": "login",
        "steps": [{"path": "/x", "json": {"c": "{code}"}, "take": {"token": "/t"}}],
    }
    flow = LoginFlow(msgspec.convert(auth, LoginMap))
    assert flow.needs == ("code",)
    assert flow.needs_person


@pytest.mark.parametrize(
    "members",
    [
        {"take": {"token": {"field": "a", "meta": "b"}}},
        {"take": {"token": {"script": "a", "at": "b"}}},
        {"take": {"token": {"cookie": "a", "decode": "rot13"}}},
        {"success": [500]},
        {"success": [200], "refused_at": "/login"},
        {"once": True},
        {"follow": "yes"},
    ],
)
def test_d01_steps_that_cannot_be_right(members: dict[str, Any]) -> None:
    """Wrong places and statuses are mistakes of the recipe."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changed(1, **members), LoginMap)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"let": {"password": "x"}}, "cannot be the name"),
        ({"let": {"a": "{nobody}"}}, "unknown placeholder"),
        ({"attach": []}, "attach is empty"),
        ({"attach": [{"header": "X", "value": "{user_id}"}]}, "unknown placeholder {user_id}"),
    ],
)
def test_d01_logins_that_cannot_be_right(members: dict[str, Any], said: str) -> None:
    """Placeholders that nothing fills are mistakes of the recipe."""
    with pytest.raises(errors.ConfigurationError) as caught:
        msgspec.convert({**DJANGO, **members}, LoginMap).flow()
    assert said in caught.value.message


def session_keeper(attach: object) -> tuple[Authenticator, TokenSource]:
    """Return what keeps a browser's session, and where."""
    source = TokenSource()
    described = msgspec.convert({**DJANGO, "attach": attach}, LoginMap)
    return Authenticator(ServiceLogin(described.flow(), described.attach), None, source), source


@pytest.mark.parametrize(
    ("attach", "token"),
    [({"cookie": "*"}, "a=1; sid=s%3D1"), ({"cookie": "sid"}, "s%3D1")],
)
async def test_the_session_of_a_browser(attach: object, token: str) -> None:
    """Pasted cookies are the token, with or without the header's name."""
    for pasted in ("a=1; sid=s%3D1", "Cookie: a=1; sid=s%3D1 "):
        keeper, source = session_keeper(attach)
        await keeper.use_session(pasted)
        assert source.token == Secret(token)


@pytest.mark.parametrize(
    ("attach", "pasted", "said"),
    [
        ({"header": "X"}, "a=1", "session is not a cookie"),
        ({"cookie": "sid"}, "a=1; b=2", "no cookie 'sid'"),
        ({"cookie": "*"}, "a=\n1", "no HTTP header may carry"),
        ({"cookie": "*"}, "", "must be text"),
    ],
)
async def test_a_session_that_is_none(attach: object, pasted: str, said: str) -> None:
    """What cannot be a session is refused, and not shown."""
    keeper, _ = session_keeper(attach)
    with pytest.raises(errors.ConfigurationError) as caught:
        await keeper.use_session(pasted)
    assert said in caught.value.message
