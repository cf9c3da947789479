"""The table `[endpoint]` of a recipe, and recipes that extend one that comes with Berlin."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trustme

from berlin import errors
from berlin.recipes.recipe import load_recipe, parse_recipe
from support.chat_service import ChatService
from support.described import describe, limits, open_provider, scripted, tell
from support.fault_server import FaultServer
from support.fault_steps import Hang, begin_stream, stream
from support.forward_proxy import ForwardProxy

HELLO = stream(b'{"t":"Hello"}\n')


def at(url: str, **more: object) -> str:
    """Return a table `[endpoint]`."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"url": url, **more}.items()]
    return "[endpoint]\n" + "\n".join(lines)


async def test_headers_of_every_request(tmp_path: Path) -> None:
    """The endpoint's headers go out with each request, steps too; a chat's own go before them."""
    endpoint = at("http://127.0.0.1:1") + (
        '\nheaders = { X-App = "tests", user-agent = "Browser/1.0", X-Both = "endpoint" }'
    )
    chat = """
path = "/chat"
json = { q = "{prompt}", c = "{c}" }
headers = { X-Both = "chat" }

[[chat.prepare]]
path = "/c"
method = "GET"
take = { c = { header = "X-C" } }
"""
    recipe = describe(chat=chat, endpoint=endpoint)
    made = stream(b"x", headers=("X-C: 1",))
    async with scripted(tmp_path, recipe, made, HELLO) as (server, berlin):
        assert (await tell(berlin)).text == "Hello"
    for seen, both in zip(server.requests, ("endpoint", "chat"), strict=True):
        assert seen.headers["x-app"] == "tests"
        assert seen.headers["user-agent"] == "Browser/1.0"
        assert seen.headers["x-both"] == both


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-A", "a\r\nX-B: 1"), ("X A", "1"), ("", "1"), ("X-A", "\u00e9"), ("Host", "evil.example")],
)
def test_d07_headers_that_cannot_be_sent(name: str, value: str) -> None:
    """A header that could not be sent is told when the recipe is read."""
    table = f"{at('https://x.example')}\nheaders = {{ {json.dumps(name)} = {json.dumps(value)} }}"
    with pytest.raises(errors.ConfigurationError, match=r"^mine\.toml, line \d+: the header"):
        parse_recipe(describe(endpoint=table), "mine.toml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "http://x.example"}, None),
        ({"url": "x.example"}, "url must be"),
        ({"url": "https://u:p@x.example"}, "must not contain an account"),
        ({"url": "https://x.example?a=b"}, "base URL"),
        ({"url": "https://x.example", "proxy": "ftp://p.example"}, "proxy must be"),
        ({"url": "https://x.example", "client_key": "k.pem"}, "client_key without client_cert"),
    ],
)
def test_endpoints_that_cannot_be_used(more: dict[str, str], said: str | None) -> None:
    """An endpoint that cannot be used is told when the recipe is read."""
    recipe = describe(endpoint=at(**more))
    if said is None:  # whether plain http is allowed is for the configuration to say
        assert parse_recipe(recipe, "mine.toml").endpoint.url == more["url"]
        return
    with pytest.raises(errors.ConfigurationError, match=said) as caught:
        parse_recipe(recipe, "mine.toml")
    assert caught.value.message.startswith("mine.toml, line ")


async def test_plain_http_to_another_machine(tmp_path: Path) -> None:
    """Plain http needs to be allowed, by the recipe or by the configuration."""
    for endpoint, more in (
        (at("http://x.example", allow_http=True), {}),
        (at("http://x.example"), {"allow_http": True}),
    ):
        async with open_provider(tmp_path, describe(endpoint=endpoint), **more) as berlin:
            assert berlin.url == "http://x.example"
    with pytest.raises(errors.ConfigurationError, match="plain http"):
        open_provider(tmp_path, describe(endpoint=at("http://x.example")))


async def test_a_proxy_of_the_recipe(tmp_path: Path) -> None:
    """The recipe's proxy is used, unless the configuration names another."""
    async with ForwardProxy() as proxy, ForwardProxy() as other:
        for more, used in (({}, proxy), ({"proxy": other.url}, other)):
            recipe = describe(endpoint=at("http://127.0.0.1:1", proxy=proxy.url))
            async with scripted(tmp_path, recipe, HELLO, **more) as (_, berlin):
                assert (await tell(berlin)).text == "Hello"
            assert len(used.requests) == 1
            assert used.requests[0].endswith("/chat HTTP/1.1")


def write_pems(folder: Path) -> tuple[ssl.SSLContext, trustme.CA]:
    """Write the files of an authority and a client; return a server that asks for certificates."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "client.pem")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context, authority


@pytest.mark.parametrize(
    "files",
    [{"client_cert": "client.pem"}, {"client_cert": "client.crt", "client_key": "client.key"}],
)
@pytest.mark.parametrize("place", ["recipe", "configuration"])
async def test_a_service_that_asks_for_a_certificate(
    files: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client shows its certificate; the files lie beside the recipe, wherever one works."""
    context, _ = write_pems(tmp_path)
    monkeypatch.chdir("/")
    full = {name: str(tmp_path / file) for name, file in {"ca_file": "ca.pem", **files}.items()}
    mine = {"ca_file": "ca.pem", **files} if place == "recipe" else {}
    recipe = describe(endpoint=at("http://127.0.0.1:1", **mine))
    async with FaultServer(HELLO, tls=context) as server:
        url = f"{server.url}/one-{place}"
        more = {} if place == "recipe" else full
        async with open_provider(tmp_path, recipe, url, **more) as berlin:
            assert (await tell(berlin)).text == "Hello"


async def test_without_the_certificate(tmp_path: Path) -> None:
    """Without a certificate such a service answers nothing, and that is an error of the way."""
    context, _ = write_pems(tmp_path)
    recipe = describe(endpoint=at("http://127.0.0.1:1", ca_file="ca.pem"))
    async with (
        FaultServer(HELLO, tls=context) as server,
        open_provider(tmp_path, recipe, f"{server.url}/two") as berlin,
    ):
        told = await tell(berlin, timeout=limits(first_event=5))
    assert isinstance(told.error, errors.TransportError)
    assert server.requests == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca_file": "none.pem"}, "ca_file .* cannot be read"),
        ({"ca_file": "tested.toml"}, "ca_file .* cannot be read"),
        ({"client_cert": "none.pem"}, "client_cert .* cannot be read"),
        ({"client_cert": "ca.pem"}, "client_cert .* cannot be read"),
        ({"client_cert": "client.crt", "client_key": "other.key"}, "client_cert .* cannot be read"),
    ],
)
async def test_certificates_that_cannot_be_read(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    """A file that is missing or holds something else is told by name."""
    write_pems(tmp_path)
    other = trustme.CA().issue_cert("x@example.org").private_key_pem
    other.write_to_path(tmp_path / "other.key")
    recipe = describe(endpoint=at("https://127.0.0.1:1", **files))
    async with open_provider(tmp_path, recipe) as berlin:
        told = await tell(berlin)
    assert isinstance(told.error, errors.ConfigurationError)
    with pytest.raises(errors.ConfigurationError, match=said):
        raise told.error


async def test_limits_of_the_recipe_and_of_the_configuration(tmp_path: Path) -> None:
    """The recipe's limits hold, unless the configuration has its own, or the request."""
    recipe = describe(endpoint=at("http://127.0.0.1:1") + "\ntimeouts = { idle = 0.3 }")
    script = (*begin_stream(b'{"t":"Hello"}\n'), Hang())
    async with FaultServer(script) as server:
        async with open_provider(tmp_path, recipe, f"{server.url}/a") as berlin:
            assert berlin.timeouts.idle == 0.3
            told = await tell(berlin)
            assert "idle" in told.failed_with(errors.UpstreamTimeoutError, after="Hello")
            told = await tell(berlin, timeout=limits(total=0.4))
            assert "total" in told.failed_with(errors.UpstreamTimeoutError, after="Hello")
        more = {"timeouts": {"idle": 9, "total": 0.5}}
        async with open_provider(tmp_path, recipe, f"{server.url}/a", **more) as berlin:
            told = await tell(berlin)
            assert "total" in told.failed_with(errors.UpstreamTimeoutError, after="Hello")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", '"5"', "true"])
def test_limits_that_are_none(value: str) -> None:
    """A limit is a positive number of seconds; a mistake is told with its line."""
    recipe = describe(endpoint=at("https://x.example") + f"\n[endpoint.timeouts]\nidle = {value}")
    with pytest.raises(errors.ConfigurationError, match=r"^mine\.toml, line \d+: .*timeouts"):
        parse_recipe(recipe, "mine.toml")


# Recipes that extend another

MINE = 'schema = 1\nname = "mine"\ndescription = "Like Berlin"\nextends = "berlin"\n'


async def test_a_recipe_that_extends_another(tmp_path: Path) -> None:
    """What it does not say is as in the recipe that it extends."""
    recipe = MINE + '[chat.json]\nlang = "de"\n[chat.json.options]\ntop_p = 0.5\n'
    async with ChatService() as service:
        more = {"account": "account", "password": "password"}
        async with open_provider(tmp_path, recipe, service.url, **more) as berlin:
            assert (await berlin.ask("Hello", temperature=1)).text == "Hello, world"
    body = service.chats[0].json
    assert body["lang"] == "de"
    assert body["prompt"] == "Hello"
    assert (body["options"]["top_p"], body["options"]["temperature"]) == (0.5, 1)
    assert body["options"]["max_tokens"] == 1888


def test_members_that_are_merged_and_those_that_are_not() -> None:
    """Tables are merged member by member; lists and single values are replaced."""
    base = load_recipe("berlin")
    mine = parse_recipe(
        MINE
        + '[chat.stream]\nerror = "/oops"\n[models]\nlist = ["a"]\n[endpoint]\nproxy = "http://p:1"',
        "mine.toml",
    )
    assert base.chat.stream is not None
    assert mine.chat.stream is not None
    assert (mine.name, mine.description, mine.source) == ("mine", "Like Berlin", "")
    assert mine.chat.stream.error == "/oops"
    assert mine.chat.stream.text == base.chat.stream.text
    assert (mine.models.default, mine.models.list) == (base.models.default, ("a",))
    assert (mine.endpoint.url, mine.endpoint.proxy) == (base.endpoint.url, "http://p:1")
    assert mine.auth == base.auth
    assert load_recipe("berlin") == base


@pytest.mark.parametrize(
    ("table", "flow"),
    [
        ('[auth]\nflow = "none"', "NoneMap"),
        ('[auth]\nflow = "api-key"', "ApiKeyMap"),
        ('[auth]\nflow = "api-key"\nattach = { query = "key" }', "ApiKeyMap"),
    ],
)
def test_another_flow_replaces_the_table(table: str, flow: str) -> None:
    """Of another flow nothing is kept."""
    mine = parse_recipe(f"{MINE}{table}\n", "mine.toml")
    assert type(mine.auth).__name__ == flow


def test_another_format_replaces_the_table() -> None:
    """Of a described chat nothing is kept when a known format is named."""
    mine = parse_recipe(f'{MINE}[chat]\nformat = "openai-chat"\n', "mine.toml")
    assert (mine.chat.path, mine.chat.json, mine.chat.stream) == (None, None, None)


def test_another_place_for_the_token() -> None:
    """A place replaces a place: a token goes out in one."""
    mine = parse_recipe(f'{MINE}[auth]\nattach = {{ query = "key" }}\n', "mine.toml")
    attach = mine.auth.attach
    assert (attach.header, attach.query) == ("", "key")


def test_another_kind_of_body() -> None:
    """A form replaces the JSON of the recipe that is extended: a request has one body."""
    mine = parse_recipe(f'{MINE}[chat]\nform = {{ q = "{{prompt}}" }}\noptions = ""\n', "mine.toml")
    assert (mine.chat.json, mine.chat.form) == (None, {"q": "{prompt}"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MINE.replace('"berlin"', '"berlim"'), "line 4: no shipped recipe 'berlim'; did you mean"),
        (MINE.replace('"berlin"', '"../berlin"'), "line 4: no shipped recipe '../berlin'"),
        (MINE.replace('"berlin"', '"x"'), "line 4: no shipped recipe 'x'; there are: "),
        (MINE.replace('"berlin"', "5"), "line 4: Expected `str`, got `int` - at `extends`"),
        (
            f"{MINE}[chat]\nstream = 5",
            "line 6: Expected `str | object | null`, got `int`",
        ),
        (
            f"{MINE}[chat.stream]\nends = 5",
            "line 6: Expected `str`, got `int` - at `chat.stream.ends`",
        ),
        (f"{MINE}[chat.stream]\nedns = 5", "line 6: unknown key 'edns' in [chat.stream]"),
        (f'{MINE}[chat.stream]\ntext = "x"', "line 5: 'x' is not a JSON Pointer"),
        (f"{MINE}[[auth.steps]]\npath = 5", "line 6: Expected `str`, got `int`"),
    ],
)
def test_mistakes_in_a_recipe_that_extends_another(text: str, said: str) -> None:
    """A mistake is told with the line of the file that a person wrote."""
    with pytest.raises(errors.ConfigurationError) as caught:
        parse_recipe(text, "mine.toml")
    assert caught.value.message.startswith(f"mine.toml, {said}")
