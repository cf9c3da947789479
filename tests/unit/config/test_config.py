"""Settings: where they come from, and which goes before which."""

from __future__ import annotations

from pathlib import Path

import pytest

from berlin import Timeouts
from berlin.auth.tokens.login_store import StoredLogin
from berlin.config import (
    Config,
    Overrides,
    config_path,
    data_path,
    default_provider,
    load_config,
    login_store,
    resolve_settings,
)
from berlin.config.schema import ProviderConfig
from berlin.errors import ConfigurationError, InvalidRequestError
from berlin.recipes.recipe import load_recipe
from berlin.types import Secret

KEPT = StoredLogin("https://kept.example", {"account": "kept", "password": "kept-pw"})


def written(folder: Path, text: str) -> Path:
    """Write a configuration file and return its path."""
    path = folder / "berlin.toml"
    path.write_text(text, "utf-8")
    return path


def config_of(folder: Path, text: str) -> Config:
    """Return the configuration that a text is."""
    return load_config(written(folder, text))


FILE = """
[providers.berlin]
url = "https://file.example"
account = "file-account"
password = "file-password"
proxy = "http://file-proxy:1"
ca_file = "/file.pem"
model = "file-model"
timeouts = { idle = 7 }
"""

ENVIRON = {
    "BERLIN_URL": "https://env.example",
    "BERLIN_ACCOUNT": "env-account",
    "BERLIN_PASSWORD": "env-password",
    "BERLIN_PROXY": "http://env-proxy:1",
    "BERLIN_CA_FILE": "/env.pem",
}

GIVEN = Overrides(
    url="https://arg.example",
    account="arg-account",
    password="arg-password",
    proxy="http://arg-proxy:1",
    ca_file="/arg.pem",
    timeouts=Timeouts(idle=9),
)


@pytest.mark.parametrize(
    ("environ", "given", "who", "idle"),
    [
        (ENVIRON, GIVEN, "arg", 9),
        (ENVIRON, Overrides(), "env", 7),
        ({}, Overrides(), "file", 7),
        ({}, GIVEN, "arg", 9),
    ],
    ids=["all three", "environment and file", "file", "arguments and file"],
)
def test_order_of_the_sources(
    tmp_path: Path, environ: dict[str, str], given: Overrides, who: str, idle: float
) -> None:
    """Arguments go before the environment, and the environment before the file."""
    settings = resolve_settings("berlin", config_of(tmp_path, FILE), given, environ)
    assert settings.endpoint.url == f"https://{who}.example"
    assert settings.endpoint.ca_file == f"/{who}.pem"
    assert settings.endpoint.proxy == Secret(f"http://{who}-proxy:1")
    assert settings.credentials is not None
    assert settings.credentials.account == f"{who}-account"
    assert settings.credentials.password == Secret(f"{who}-password")
    assert settings.timeouts.idle == idle
    assert settings.model == "file-model"


def test_stored_login_is_the_last_source() -> None:
    """A stored login gives URL and credentials where nothing else does."""
    login_store().save("berlin", KEPT)
    settings = resolve_settings("berlin", Config(), environ={})
    assert settings.endpoint.url == "https://kept.example"
    assert settings.credentials is not None
    assert settings.credentials.account == "kept"
    assert settings.credentials.source == str(data_path("logins.json"))
    settings = resolve_settings("berlin", Config(), environ=ENVIRON)
    assert settings.credentials is not None
    assert settings.credentials.account == "env-account"


@pytest.mark.parametrize("environ", [{}, {"BERLIN_URL": "https://env.example"}])
def test_stored_login_is_for_its_url_only(environ: dict[str, str]) -> None:
    """A stored login is never used for another URL than its own (X06)."""
    login_store().save("berlin", KEPT)
    given = Overrides() if environ else Overrides(url="https://arg.example")
    settings = resolve_settings("berlin", Config(), given, environ)
    assert settings.endpoint.url in ("https://env.example", "https://arg.example")
    assert settings.credentials is None


def test_without_any_source_the_recipe_says_where() -> None:
    """With nothing set up the URL is the recipe's, and there are no credentials."""
    settings = resolve_settings("openai", Config(), environ={})
    assert settings.endpoint.url == "https://api.openai.com/v1"
    assert settings.credentials is None
    assert settings.timeouts == settings.recipe.endpoint.timeouts


def test_an_example_is_no_address() -> None:
    """A recipe whose URL is an example needs one from the user: nothing goes there unasked."""
    for name in ("berlin", "azure-openai"):
        with pytest.raises(ConfigurationError, match=f"{name} needs a URL.*login {name} --url"):
            resolve_settings(name, Config(), environ={})


@pytest.mark.parametrize(
    ("environ", "given", "said"),
    [
        ({"BERLIN_ACCOUNT": "a"}, Overrides(), "account without password in the environment"),
        ({"BERLIN_PASSWORD": "p"}, Overrides(), "password without account in the environment"),
        (ENVIRON, Overrides(password="p"), "password without account in the arguments"),
        (ENVIRON, Overrides(account="a"), "account without password in the arguments"),
        ({}, Overrides(account="a", password=""), "the password .from arguments. must be text"),
    ],
)
def test_account_and_password_come_from_one_place(
    tmp_path: Path, environ: dict[str, str], given: Overrides, said: str
) -> None:
    """Half of the credentials here and half there is an error, not a guess."""
    with pytest.raises(ConfigurationError, match=said):
        resolve_settings("berlin", config_of(tmp_path, FILE), given, environ)


def test_account_alone_takes_its_own_stored_password() -> None:
    """An account that is given alone may use the login that was stored for it, at its URL."""
    login_store().save("berlin", KEPT)
    settings = resolve_settings("berlin", Config(), Overrides(account="kept"), {})
    assert settings.credentials is not None
    assert settings.credentials.password == Secret("kept-pw")
    for given in (
        Overrides(account="other"),
        Overrides(account="kept", url="https://evil.example"),
    ):
        with pytest.raises(ConfigurationError, match="account without password"):
            resolve_settings("berlin", Config(), given, {})


def test_environment_is_for_one_provider_only(tmp_path: Path) -> None:
    """`BERLIN_URL` and the rest describe the provider `berlin`, not those of the file."""
    config = config_of(tmp_path, FILE.replace("providers.berlin", "providers.mine"))
    settings = resolve_settings("mine", config, environ=ENVIRON)
    assert settings.endpoint.url == "https://file.example"
    assert settings.credentials is not None
    assert settings.credentials.account == "file-account"


def test_d04_variable_of_the_environment(tmp_path: Path) -> None:
    """A value may stand in a variable; if that is not set the error names it and its place."""
    config = config_of(
        tmp_path,
        '[providers.mine]\nurl = "https://a.example"\n'
        'account = "a"\npassword = { env = "MINE" }\nproxy = { env = "PROXY" }\n',
    )
    settings = resolve_settings("mine", config, environ={"MINE": "pw", "PROXY": "http://p:1"})
    assert settings.credentials is not None
    assert settings.credentials.password == Secret("pw")
    assert settings.endpoint.proxy == Secret("http://p:1")
    with pytest.raises(
        ConfigurationError,
        match=r"providers\.mine\.proxy comes from the environment variable PROXY, which is not set",
    ):
        resolve_settings("mine", config, environ={"MINE": "pw"})
    with pytest.raises(
        ConfigurationError,
        match=r"providers\.mine\.password comes from .* variable MINE, which is not set",
    ):
        resolve_settings("mine", config, environ={"PROXY": "http://p:1"})
    with pytest.raises(
        ConfigurationError,
        match=r"providers\.mine\.password comes from .* variable MINE, which is empty",
    ):
        resolve_settings("mine", config, environ={"MINE": "", "PROXY": "http://p:1"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "defualt = 'guide'\n",
            "line 1: unknown key 'defualt' at the top level; did you mean 'default'?",
        ),
        (
            "\n[providers.mine]\nurl = 'https://a.example'\npasswrod = 'x'\n",
            "line 4: unknown key 'passwrod' in [providers.mine]; did you mean 'password'?",
        ),
        (
            "[providers.mine]\nzzz = 1\n",
            "line 2: unknown key 'zzz' in [providers.mine]; known: recipe, url, account",
        ),
        (
            "[providers.mine.timeouts]\nidel = 3\n",
            "line 2: unknown key 'idel' in [providers.mine.timeouts]; did you mean 'idle'?",
        ),
        (
            "[providers.mine]\ntimeouts = { idel = 3 }\n",
            "unknown key 'idel' in [providers.mine.timeouts]; did you mean 'idle'?",
        ),
        (
            "[server]\nport = 1\nhots = 'x'\n",
            "line 3: unknown key 'hots' in [server]; did you mean 'host'?",
        ),
        ("[server]\nport = '1'\n", "line 2: Expected `int`, got `str`"),
        ("[providers.mine]\nallow_http = 1\n", "line 2: Expected `bool`, got `int`"),
        ("[providers]\nmine = 7\n", "line 2: Expected `object`, got `int`"),
        (
            "[providers.mine]\npassword = { fil = 'x' }\n",
            "unknown key 'fil' in [providers.mine.password]",
        ),
        (
            "[providers.mine]\npassword = { file = 'x', env = 'X' }\n",
            "name exactly one of env, file, keyring, command and caller",
        ),
        (
            "[providers.one]\nallow_http = true\n\n[providers.two]\nallow_http = 'yes'\n",
            "line 5: Expected `bool`, got `str` - at `providers.two.allow_http`",
        ),
        ("[providers.mine\n", "is not valid TOML: "),
        ("[providers.mine]\n[providers.mine]\n", "is not valid TOML: "),
        ("default = 'nope'\n", "default = 'nope' is neither a provider"),
        ("[providers.mine]\ndefault = 'mine'\n", "line 2: unknown key 'default'"),
    ],
)
def test_d01_mistakes_in_the_file(tmp_path: Path, text: str, said: str) -> None:
    """A mistake in the file is told with file, line and what was meant (D01, D03)."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert caught.value.message.startswith(str(path))
    assert said in caught.value.message


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", '"5"', "true"])
def test_limits_that_make_no_sense(tmp_path: Path, limit: str) -> None:
    """A limit on time is a positive number; the error is one of ours and names the file."""
    path = written(tmp_path, f"[providers.mine.timeouts]\nidle = {limit}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert caught.value.message.startswith(f"{path}, line ")


def test_error_shows_no_secret(tmp_path: Path) -> None:
    """A mistake next to a password does not show the password."""
    text = '[providers.mine]\naccount = 7\npassword = "hunter2secret"\n'
    with pytest.raises(ConfigurationError) as caught:
        config_of(tmp_path, text)
    assert "hunter2secret" not in caught.value.message


def test_no_file_is_an_empty_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file at the usual place is fine; one that was named has to be there."""
    assert load_config() == Config()
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigurationError, match=f"file {missing} does not exist"):
        load_config(missing)
    monkeypatch.setenv("BERLIN_CONFIG", str(missing))
    with pytest.raises(ConfigurationError, match=f"file {missing} does not exist"):
        load_config()


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in the user's folder for configuration, or where BERLIN_CONFIG says."""
    usual = tmp_path / "config" / "berlin" / "berlin.toml"
    assert config_path() == usual
    usual.parent.mkdir(parents=True)
    usual.write_text("default = 'guide'\n")
    assert load_config().default == "guide"
    other = written(tmp_path, "default = 'berlin'\n")
    monkeypatch.setenv("BERLIN_CONFIG", str(other))
    assert config_path() == other
    assert load_config().default == "berlin"
    assert data_path("x") == tmp_path / "data" / "berlin" / "x"


@pytest.mark.parametrize("data", [b"\xff\xfe", b"default = '\xff'"])
def test_file_that_is_no_text(tmp_path: Path, data: bytes) -> None:
    """A file that is not UTF-8 is an error of ours."""
    path = tmp_path / "berlin.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=f"{path} is not text in UTF-8 .byte"):
        load_config(path)
    with pytest.raises(ConfigurationError, match=f"{tmp_path} cannot be read: Is a directory"):
        load_config(tmp_path)


def test_unknown_provider_and_recipe(tmp_path: Path) -> None:
    """Who asks for a provider that is not there is told which there are, and where to add one."""
    config = config_of(tmp_path, "[providers.mine]\n[providers.odd]\nrecipe = 'nope'\n")
    with pytest.raises(
        ConfigurationError,
        match=r"no provider 'zzz9'; there are: berlin, guide, mine, odd. Add one with "
        r"`berlin add URL --name zzz9`, or as \[providers.zzz9\] to .*berlin.toml",
    ):
        resolve_settings("zzz9", config, environ={})
    with pytest.raises(ConfigurationError, match=r"no recipe 'nope'; there are: .*berlin"):
        resolve_settings("odd", config, environ={})


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("", {}, None),
        ("default = 'guide'\n[providers.mine]\n", ENVIRON, "guide"),
        ("[providers.mine]\n", {}, "mine"),
        ("[providers.mine]\n", ENVIRON, "mine"),
        ("[providers.mine]\n[providers.other]\n", {}, None),
        ("[providers.mine]\n[providers.other]\n", ENVIRON, "berlin"),
        ("[providers.mine]\n[providers.berlin]\n", {}, "berlin"),
        ("", {"BERLIN_URL": "https://a.example"}, "berlin"),
        ("", {"BERLIN_ACCOUNT": "a"}, "berlin"),
        ("", {"BERLIN_URL": ""}, None),
    ],
)
def test_default_provider(
    tmp_path: Path, text: str, environ: dict[str, str], expected: str | None
) -> None:
    """The default is what the file says, or the only provider, or what the environment names."""
    assert default_provider(config_of(tmp_path, text), environ) == expected


def test_stored_login_makes_a_default() -> None:
    """After `berlin login` the provider it is for is the default."""
    assert default_provider(Config(), {}) is None
    login_store().save("berlin", KEPT)
    assert default_provider(Config(), {}) == "berlin"


@pytest.mark.parametrize(
    ("value", "allowed"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)]
)
def test_plain_http_has_to_be_allowed(value: str, allowed: bool) -> None:
    """Plain http to another machine needs a word of the user (X21)."""
    environ = {"BERLIN_URL": "http://192.0.2.1", "BERLIN_ALLOW_HTTP": value}
    if allowed:
        assert resolve_settings("berlin", Config(), environ=environ).endpoint.allow_http
        return
    with pytest.raises(ConfigurationError, match="is plain http"):
        resolve_settings("berlin", Config(), environ=environ)


def test_key_tells_providers_apart(tmp_path: Path) -> None:
    """Settings that differ in anything have different keys; the same ones have the same."""
    config = config_of(tmp_path, FILE)
    same = [resolve_settings("berlin", config, environ={}).key for _ in range(2)]
    other = resolve_settings("berlin", config, environ=ENVIRON).key
    assert same[0] == same[1] != other
    with pytest.raises(InvalidRequestError, match="positive number of seconds"):
        Overrides(timeouts=Timeouts(idle=0))


OAUTH = """
schema = 1
name = "sso"
description = "A service behind OAuth 2"
[endpoint]
url = "https://chat.example"
[auth]
flow = "oauth2"
grant = "password"
token_url = "/token"
[chat]
path = "/chat"
json = { prompt = "{prompt}" }
[chat.stream]
framing = "ndjson"
text = "/content"
[models]
default = "m"
"""


def test_the_client_may_stand_elsewhere_than_the_user(tmp_path: Path) -> None:
    """Which program asks stands in the file, who uses it was stored by `berlin login`."""
    (tmp_path / "sso.toml").write_text(OAUTH)
    config = config_of(
        tmp_path,
        '[providers.work]\nrecipe = "sso.toml"\nclient_id = "me"\nclient_secret = "secret"\n',
    )
    values = {"account": "ann", "password": "pw"}
    login_store().save("work", StoredLogin("https://chat.example", values))
    found = resolve_settings("work", config, Overrides(), {}).credentials
    assert found is not None
    assert found.values() == {**values, "client_id": "me", "client_secret": "secret"}
    assert "configuration" in found.source


def test_half_of_the_user_is_not_completed_by_the_client(tmp_path: Path) -> None:
    """An account without its password is an error, whatever is known of the program."""
    (tmp_path / "sso.toml").write_text(OAUTH)
    text = '[providers.work]\nrecipe = "sso.toml"\nclient_id = "me"\naccount = "ann"\n'
    config = config_of(tmp_path, text)
    with pytest.raises(ConfigurationError, match="account without password in the configuration"):
        resolve_settings("work", config, Overrides(), {})


def test_empty_variables_count_as_not_set(tmp_path: Path) -> None:
    """What a container's file leaves empty is not given."""
    environ = {"BERLIN_URL": "", "BERLIN_ACCOUNT": "", "BERLIN_PASSWORD": "", "BERLIN_CONFIG": ""}
    login_store().save("berlin", KEPT)
    settings = resolve_settings("berlin", Config(), Overrides(), environ)
    assert settings.endpoint.url == "https://kept.example"
    assert settings.credentials is not None


def test_a_stored_login_completes_an_account_that_is_named(tmp_path: Path) -> None:
    """Who names the account and logged in with it is logged in; a slash makes no difference."""
    text = '[providers.berlin]\nurl = "https://kept.example/"\naccount = "kept"\n'
    login_store().save("berlin", KEPT)
    for config, environ in (
        (config_of(tmp_path, text), {}),
        (Config(), {"BERLIN_ACCOUNT": "kept"}),
    ):
        found = resolve_settings("berlin", config, Overrides(), environ).credentials
        assert found is not None
        assert found.password == Secret("kept-pw")


@pytest.mark.parametrize("written", ["$OPENAI_API_KEY", "${OPENAI_API_KEY}"])
def test_a_variable_as_other_programs_write_it_is_told(tmp_path: Path, written: str) -> None:
    """`api_key = "$NAME"` would be sent as it is: the error shows how a variable is written."""
    path = tmp_path / "berlin.toml"
    path.write_text(f'[providers.a]\nrecipe = "openai"\napi_key = "{written}"\n')
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert f"{path}, line 3: api_key = '{written}' is literal text" in caught.value.message
    assert caught.value.message.endswith('write api_key = { env = "OPENAI_API_KEY" }')


def test_what_a_recipe_says_about_its_hosts_counts_at_another_url() -> None:
    """Its `hosts` may be followed, and `origin` sends that of the URL in use."""
    config = Config(
        providers={"mine": ProviderConfig(recipe="chat-ui", url="https://me.example.com/x")}
    )
    endpoint = resolve_settings("mine", config, Overrides(), {}).endpoint
    assert dict(endpoint.headers) == {
        "Origin": "https://me.example.com",
        "Referer": "https://me.example.com/",
    }
    replicate = Config(providers={"r": ProviderConfig(recipe="replicate")})
    hosts = resolve_settings("r", replicate, Overrides(), {}).endpoint.hosts
    assert hosts == tuple(load_recipe("replicate").endpoint.hosts) != ()
