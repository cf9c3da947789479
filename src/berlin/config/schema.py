"""The schema of the configuration file, parsed into frozen values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from berlin.auth.credentials import SECRET_NAMES
from berlin.config.models.tables import BreakerConfig, LimitConfig, ModelConfig
from berlin.config.tables.base import Count, CountFromZero, NotNegative, Positive, Reference, Table
from berlin.config.tables.issuers import IssuerConfig
from berlin.config.tables.ledger import LedgerConfig
from berlin.config.tables.limits import LimitsConfig
from berlin.config.tables.per_user import check_per_user
from berlin.config.tables.prices import PriceTable, check_prices
from berlin.language.tables.tool_prompt import ToolPrompt, ToolsMode
from berlin.types import Timeouts

MAX_WORKERS = 256
BUILT_IN = ("berlin", "guide")
"""Providers that need no table in the file."""


class ProviderConfig(Table, frozen=True, forbid_unknown_fields=True):
    """A table `[providers.NAME]`: a recipe and the overrides for it.

    Attributes:
        recipe: the name of a recipe, or a file `….toml` relative to this one.
        url: base URL of the service.
        account: the account to log in with; with `{key.user}` that of the user of a client's key.
        password: its password, better as `{ env = "NAME" }`.
        api_key: for a recipe with an API key.
        client_id: for a recipe with OAuth 2.
        client_secret: for a recipe with OAuth 2.
        refresh_token: for a recipe with OAuth 2 and a refresh token from elsewhere.
        private_key: for a recipe that signs: `{ file = "key.pem" }`.
        assertion: for a recipe that presents a token signed by a third party:
            `{ file = "/var/run/secrets/token" }`.
        totp_seed: for a login with one-time codes: the seed for the authenticator app.
        proxy: URL of a proxy.
        ca_file: PEM file with the certificates to trust.
        client_cert: PEM file with the client certificate.
        client_key: PEM file with its key, if in a separate file.
        allow_http: whether credentials may go over plain http to another machine.
        model: the model to use when a request names none.
        timeouts: the four limits, in seconds, instead of those of the recipe.
        models: the models that the gateway offers, instead of those of the recipe; no others are
            used then.
        tools: how tools are handled, instead of what the recipe says: `native`, `emulate`,
            `ignore` or `refuse`.
        tool_prompt: the wording that offers tools, instead of the recipe's table.
        at_once: the most concurrent requests to it.
        waiting: the most requests that wait for a turn; further ones are refused.
        limit: the limits of this account, for all models that use it.
        breaker: when composed models skip it after failures.
        class: a provider written in Python, instead of a recipe: `package.module:Name`.
        options: the keyword arguments for that class; `{ env = "NAME" }` is a variable's value.
    """

    recipe: str = "berlin"
    url: str | None = None
    account: str | None = None
    password: str | Reference | None = None
    api_key: str | Reference | None = None
    client_id: str | None = None
    client_secret: str | Reference | None = None
    refresh_token: str | Reference | None = None
    private_key: Reference | None = None
    assertion: Reference | None = None
    totp_seed: str | Reference | None = None
    proxy: str | Reference | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    allow_http: bool = False
    model: str | None = None
    timeouts: Timeouts | None = None
    models: tuple[str, ...] | None = None
    tools: ToolsMode | None = None
    tool_prompt: ToolPrompt | None = None
    at_once: Count = 64
    waiting: CountFromZero = 256
    limit: LimitConfig | None = None
    breaker: BreakerConfig = BreakerConfig()
    class_: str | None = msgspec.field(default=None, name="class")
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.class_ is None and self.options:
            raise ValueError("options are for a class; options of the model belong to the request")
        for name in (*SECRET_NAMES, "proxy"):
            value = getattr(self, name)
            if name != "assertion" and isinstance(value, Reference) and value.caller:
                raise ValueError(f"{name} is never a caller's: only assertion is")
        of_recipe = ("url", "account", "password", "api_key", "client_id", "client_secret")
        for name in of_recipe if self.class_ is not None else ():
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for a recipe; give it to the class in its options")

    @property
    def default_model(self) -> str:
        """The model to use when a request names none; `""` leaves it to the recipe."""
        # `models` lists all allowed models; the recipe's default may not be among them.
        return self.model or (self.models[0] if self.models else "")


class ServerConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[server]`.

    Attributes:
        provider: the provider used when a client names none; by default the default provider.
        host: address to listen on.
        port: port to listen on.
        workers: the number of processes that serve; `auto` for one a core.
        token_lifetime_s: lifetime in seconds of a token of the Berlin API.
        grace_s: seconds that running answers have to finish when the gateway stops.
        allowed_hosts: host names under which it is reached, besides those of this machine.
        cors_origins: origins of web pages that may send requests, such as
            `https://chat.example.com`.
        trusted_proxies: addresses or networks of the reverse proxies whose `X-Forwarded-For` or
            `Forwarded` says where a request comes from. By default this machine, if there are
            `allowed_hosts`.
        require_keys: whether clients need a key even if none was ever created.
        access_log: where to write a line for each request: a file, `-` for standard output, or
            nothing.
        metrics: whether to serve `/metrics`; by default if prometheus-client is installed.
        tracing: whether each request becomes an OpenTelemetry span.
        keep_alive_s: seconds of silence in a stream after which a keep-alive is sent; 0 for never.
        keep_alive: the form of the keep-alive: `chunk`, an empty piece of the answer; `comment`, a
            comment of server-sent events, which several clients cannot read.
        early_keep_alive: whether keep-alives are also sent before the first event. The status is
            then 200 after `keep_alive_s`, so that a later failure is an error inside the stream.
        header_timeout_s: seconds that a client has to send the head of a request.
        write_timeout_s: seconds that a client may take to read what is sent to it.
        max_connections: the most open connections.
        client_body_bytes: the most bytes of request bodies in memory for one client.
    """

    provider: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 4114
    workers: int | Literal["auto"] = 1
    token_lifetime_s: Positive = 86_400.0
    grace_s: NotNegative = 10.0
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] | None = None
    require_keys: bool = False
    access_log: str | None = None
    metrics: bool | None = None
    tracing: bool = False
    keep_alive_s: NotNegative = 15.0
    keep_alive: Literal["chunk", "comment"] = "chunk"
    early_keep_alive: bool = False
    header_timeout_s: Positive = 20.0
    write_timeout_s: Positive = 60.0
    max_connections: Count = 5_000
    client_body_bytes: Count = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.workers != "auto" and not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"workers must be 1 to {MAX_WORKERS}, or 'auto'")
        if "*" in self.cors_origins:
            raise ValueError("cors_origins takes no '*': name the origins")

    @property
    def url(self) -> str:
        """The URL at which programs on this machine reach the gateway."""
        every = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens everywhere
        host = every.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class TokensConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[tokens]`: where tokens are kept.

    Attributes:
        store: `memory` (this process), `file` (this user, on this machine), or the URL of a
            Redis (all replicas). `None`: a file for the command line, memory for programs.
        key: the key they are encrypted with; required for Redis.
        on_failure: when the store fails: `login`, each process logs in by itself; `error`, no new
            token is issued.
    """

    store: str | Reference | None = None
    key: str | Reference | None = None
    on_failure: Literal["login", "error"] = "login"


class ConversationsConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[conversations]`: for services that keep conversations themselves.

    Attributes:
        store: where Berlin records which conversation a client's next turn continues: `memory`
            (this gateway), `file` (this user, on this machine), `file:/PATH`, or the URL of a Redis
            (all replicas). It stores fingerprints and the service's own ids, never message text.
        expire_s: seconds after which a conversation is no longer continued.
        max_count: the most conversations in memory or in the file; the oldest are removed first.
        session_headers: additional headers in which clients send their session id.
    """

    store: str | Reference = "memory"
    expire_s: Positive = 86_400.0
    max_count: Count = 10_000
    session_headers: tuple[str, ...] = ()


class KeysConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[keys]`: where the API keys of the gateway are kept.

    Attributes:
        store: the URL of a PostgreSQL, for gateways on several machines; by default a file.
    """

    store: str | Reference | None = None


class SharedConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[shared]`: state of models and limits shared by all processes.

    Attributes:
        redis: the URL of a Redis; by default each process is on its own.
        on_failure: when Redis cannot be used: `divide`, each process gets its share of a limit;
            `refuse`, nothing that has a limit is sent.
    """

    redis: str | Reference | None = None
    on_failure: Literal["divide", "refuse"] = "divide"


class TerminalConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[terminal]`: settings of `berlin chat` on this machine.

    Attributes:
        history: whether conversations are kept, for `berlin chat -c` and `berlin logs`.
    """

    history: bool = True


class ResponsesConfig(Table, frozen=True, forbid_unknown_fields=True):
    """The table `[responses]`: where answers of `/v1/responses` are stored for their clients.

    Attributes:
        store: `memory` (this gateway), `file` (this machine), `file:/PATH`, the URL of a Redis (all
            replicas), or `off`.
        expire_s: seconds after its last use until a response is deleted.
        max_count: the most responses; the oldest are deleted first.
        max_bytes: the most bytes of all responses together; in Redis, of one.
    """

    store: str | Reference = "memory"
    expire_s: Positive = 2_592_000.0
    max_count: Count = 10_000
    max_bytes: Count = 134_217_728


class Config(Table, frozen=True, forbid_unknown_fields=True):
    """The whole file.

    Attributes:
        default: the provider used when none is named.
        providers: the providers by name.
        tokens: where tokens are kept.
        conversations: how conversations kept by services are found again.
        server: the gateway started by `berlin serve`.
        responses: where it keeps answers of `/v1/responses`.
        ledger: the row of each request; by default there is none.
        prices: what models cost, for the ledger and for budgets.
        limits: how much keys, users and models may use.
        keys: where the API keys of the gateway are kept.
        issuers: identity providers whose tokens take the place of a key, by name.
        aliases: other names for models, and the name that each means: a provider, or
            `provider:model`. A `*` in an alias matches any text.
        models: models composed of the models of several providers, by name.
        shared: state shared by all processes.
        terminal: settings of `berlin chat` on this machine.
    """

    default: str | None = None
    aliases: dict[str, str] = msgspec.field(default_factory=dict)
    providers: dict[str, ProviderConfig] = msgspec.field(default_factory=dict)
    models: dict[str, ModelConfig] = msgspec.field(default_factory=dict)
    tokens: TokensConfig = TokensConfig()
    conversations: ConversationsConfig = ConversationsConfig()
    server: ServerConfig = ServerConfig()
    shared: SharedConfig = SharedConfig()
    terminal: TerminalConfig = TerminalConfig()
    responses: ResponsesConfig = ResponsesConfig()
    ledger: LedgerConfig | None = None
    prices: PriceTable = msgspec.field(default_factory=dict)
    limits: LimitsConfig = LimitsConfig()
    keys: KeysConfig = KeysConfig()
    issuers: dict[str, IssuerConfig] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_prices(self.prices)
        for name, table in self.providers.items():
            check_per_user(name, table)
