"""The recipe type: the three parts of a provider, which are endpoint, auth and format."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from berlin.auth.flows.aws.table import AwsMap
from berlin.auth.flows.command import CommandMap
from berlin.auth.flows.login import LoginMap
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.auth.flows.static import ApiKeyMap, BasicMap, NoneMap
from berlin.auth.grant import UNTAKEN
from berlin.errors import ConfigurationError
from berlin.formats.build import build_format
from berlin.formats.contract import Format
from berlin.language.step import BODIES, SESSION_NAMES
from berlin.language.tables.chat import ChatMap
from berlin.language.tables.keeping import KeepAliveMap, KeepingMap
from berlin.language.tables.models import EmbeddingsMap, FetchMap
from berlin.language.tables.recognise import RecogniseMap
from berlin.language.tables.tool_prompt import ToolPrompt, ToolsMode
from berlin.language.toml import find_line, parse_toml
from berlin.language.values.text import names_in_tree
from berlin.types import Endpoint, Timeouts, suggest

SHIPPED = Path(__file__).with_name("shipped")
SCHEMA = 1
MAX_EXTENDS = 5

ReadFile: TypeAlias = Callable[[str], str]
"""Reads a file beside a recipe. Raises OSError."""

_FILE_NAME = re.compile(r"[\w][\w.-]{0,100}\.toml")


Capability: TypeAlias = Literal["tools", "images", "reasoning", "json"]


class EndpointMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[endpoint]`: where the service is, unless the user overrides it.

    Attributes:
        url: the base URL.
        headers: headers added to every request.
        proxy: URL of a proxy.
        ca_file: PEM file with the certificates to trust, for a service with its own certificate
            authority.
        client_cert: PEM file with the client certificate.
        client_key: PEM file with its key, if in a separate file.
        allow_http: whether credentials may go over plain http to another machine.
        timeouts: the four limits, in seconds.
        example: whether the URL is only an example because each user has their own.
        hosts: other hosts that a URL in an answer of the service may name, such as
            `*.example.com`; by default only the URL's own host.
        origin: whether requests carry the headers `Origin` and `Referer`, as those of a browser do:
            some services compare them with their own address.
    """

    url: str
    headers: dict[str, str] = {}
    proxy: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    allow_http: bool = False
    timeouts: Timeouts = Timeouts()
    example: bool = False
    hosts: list[str] = []
    origin: bool = False


class ModelsMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[models]`: the available models.

    Attributes:
        default: the model used when a request names none; `""` if the service has no such name.
        list: the known models.
        fetch: where the service lists them.
        aliases: other names for models.
        capabilities: what the service can do besides text.
    """

    default: str = ""
    list: tuple[str, ...] = ()
    fetch: FetchMap | None = None
    aliases: dict[str, str] = {}
    capabilities: tuple[Capability, ...] = ()


AuthMap: TypeAlias = NoneMap | ApiKeyMap | BasicMap | AwsMap | LoginMap | OAuth2Map | CommandMap


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """A service, described.

    Attributes:
        schema: version of the recipe language.
        name: the recipe's name.
        description: one line for display.
        endpoint: where the service is.
        auth: how a token is obtained and used.
        chat: how requests are written and answers are read.
        models: the available models.
        embeddings: where the service turns texts into vectors, if it does.
        extends: the shipped recipe that this one differs from, or a file beside it (`base.toml`).
        remove: tables and keys of that recipe that this one does not inherit, such as
            `chat.stream.error`.
        source: where the description comes from, and how it was tried.
        tools: how tools (and JSON output) are handled: `native`, the service supports them;
            `emulate`, Berlin offers them in the prompt, finds the calls in the answer and checks
            them; `ignore`, they are dropped, with a note in the answer; `refuse`, the request is an
            error. Default: `emulate` for a described chat without `{tools}`, else `native`.
        tool_prompt: the wording that offers them.
        conversations: how the service keeps conversations; without this table each request sends
            its whole history.
        keep_alive: what keeps a session from expiring while it is used, if anything does.
        environment: the environment variables in which users of the service usually keep its
            credentials: `api_key = "OPENAI_API_KEY"`. A variable for `url` says which address those
                credentials are for; they are used for no other.
        recognise: how `berlin add URL` finds that this recipe fits; never inherited from the recipe
            that this one extends.
    """

    schema: int
    name: str
    description: str
    endpoint: EndpointMap
    chat: ChatMap
    auth: AuthMap = NoneMap()
    models: ModelsMap = ModelsMap()
    embeddings: EmbeddingsMap | None = None
    extends: str = ""
    remove: list[str] = []
    source: str = ""
    tools: ToolsMode | None = None
    tool_prompt: ToolPrompt = ToolPrompt()
    conversations: KeepingMap | None = None
    keep_alive: KeepAliveMap | None = None
    environment: dict[str, str] = {}
    recognise: RecogniseMap = RecogniseMap()

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(_other_version(self.schema))

    @property
    def tools_mode(self) -> ToolsMode:
        """The handling of tools."""
        if self.tools is not None:
            return self.tools
        is_native = self.chat.format != "described" or "tools" in self._carried
        return "native" if is_native else "emulate"

    @property
    def names_model(self) -> bool:
        """Whether the recipe itself puts the model into a request."""
        return "model" in self._carried | set(names_in_tree(self.chat.path or ""))

    @property
    def takes_images(self) -> bool:
        """Whether a request may have images."""
        messages = self.chat.messages
        in_parts = messages.parts.image is not None and "parts" in self._carried
        return "images" in self.models.capabilities or "images" in self._carried or in_parts

    @property
    def _carried(self) -> set[str]:
        """The placeholders in the bodies of a described chat."""
        chat = self.chat
        if chat.format != "described":
            return set()
        bodies = [*(getattr(chat, kind) for kind in BODIES), chat.messages.item]
        bodies += [
            getattr(step, kind) for step in (*chat.prepare, *chat.meanwhile) for kind in BODIES
        ]
        return set(names_in_tree(bodies))

    @property
    def abilities(self) -> tuple[Capability, ...]:
        """The features that a client can use besides text, emulated or not."""
        emulated: tuple[Capability, ...] = ("tools", "json")
        more = emulated if self.tools_mode == "emulate" else ()
        more += ("images",) if self.takes_images else ()
        more += ("tools",) if "tools" in self._carried and self.tools_mode == "native" else ()
        return tuple(dict.fromkeys((*self.models.capabilities, *more)))

    @property
    def login_is_optional(self) -> bool:
        """Whether the service may be used without credentials."""
        return isinstance(self.auth, ApiKeyMap | LoginMap) and self.auth.optional

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the credentials without which the service cannot be used."""
        flow = self.auth.flow()
        return () if flow is None or self.login_is_optional else flow.needs

    def format(self) -> Format:
        """Return the compiled format, one for all providers. Raises ConfigurationError."""
        return self._compiled

    @cached_property
    def _compiled(self) -> Format:
        keeping = self.conversations
        return build_format(
            self.chat,
            self.models.default,
            session_names(self.auth),
            makes_ids=keeping is not None and keeping.id == "client",
        )


def session_names(auth: AuthMap) -> frozenset[str]:
    """Return the placeholders of a login that its chat may use: the token, and the values taken."""
    match auth:
        case NoneMap():
            return frozenset()
        case LoginMap(steps=steps, refresh=refresh):
            taken = {name for step in (*steps, *refresh) for name in step.take}
            return frozenset(SESSION_NAMES | (taken - UNTAKEN))
        case CommandMap(take=take):
            return frozenset(SESSION_NAMES | (take.keys() - UNTAKEN))
        case _:
            return SESSION_NAMES


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with Berlin."""
    return sorted(file.stem for file in SHIPPED.glob("*.toml"))


@cache
def load_recipe(name: str) -> Recipe:
    """Return a recipe that comes with Berlin. Raises ConfigurationError."""
    if name not in recipe_names():
        raise ConfigurationError(f"no recipe {name[:100]!r}; {_known(name)}")
    return parse_recipe(_text_of(name), f"{name}.toml")


def _text_of(name: str) -> str:
    return (SHIPPED / f"{name}.toml").read_text("utf-8")


def _known(name: str) -> str:
    return suggest(name, recipe_names(), f"there are: {', '.join(recipe_names())}")


def parse_recipe(text: str, source: str, read: ReadFile | None = None) -> Recipe:
    """Return the recipe in a TOML text.

    Args:
        source: the file's name, for errors.
        read: reads a file that it extends; by default it cannot extend a file.

    Raises:
        ConfigurationError: with file and line, if it is not a valid recipe.
    """
    recipe = parse_toml(text, source, Recipe, lambda tree: _extend(tree, text, source, read))
    for table, build in (
        ("chat", recipe.format),
        ("auth", recipe.auth.flow),
        ("endpoint", lambda: resolve_endpoint(recipe.endpoint, allow_http=True)),
    ):
        try:
            build()
        except ConfigurationError as error:
            line = find_line(text, (table,))
            raise ConfigurationError(f"{source}, line {line}: {error.message}") from error
        except RecursionError:
            raise ConfigurationError(f"{source}: [{table}] is nested too deeply") from None
    return recipe


def resolve_endpoint(described: EndpointMap, *, allow_http: bool = False) -> Endpoint:
    """Return the endpoint that a recipe names. Raises ConfigurationError."""
    given = msgspec.structs.asdict(described)
    for name in ("timeouts", "example"):
        del given[name]
    return Endpoint.of(**{**given, "allow_http": allow_http or described.allow_http})


def _other_version(schema: int) -> str:
    return f"schema {schema} belongs to another version of Berlin; this version reads {SCHEMA}"


def _extend(
    tree: dict[str, Any], text: str, source: str, read: ReadFile | None = None, depth: int = 0
) -> dict[str, Any]:
    """Return the tree of a recipe merged with the one that it extends."""
    schema = tree.get("schema")
    if isinstance(schema, int) and not isinstance(schema, bool) and schema != SCHEMA:
        line = find_line(text, ("schema",))
        raise ConfigurationError(f"{source}, line {line}: {_other_version(schema)}")
    base = tree.get("extends")
    if not isinstance(base, str) or not base:
        return tree
    if base.endswith(".toml"):
        inherited, inner = _read_own(base, text, source, read, depth)
    elif base in recipe_names():
        inherited, inner, read = tomllib.loads(_text_of(base)), "", None
    else:
        line = find_line(text, ("extends",))
        raise ConfigurationError(
            f"{source}, line {line}: no shipped recipe {base!r}; {_known(base)}"
        )
    return _inherit(_extend(inherited, inner, base, read, depth + 1), tree, text, source)


def _read_own(
    base: str, text: str, source: str, read: ReadFile | None, depth: int
) -> tuple[dict[str, Any], str]:
    """Return a user's recipe file that another recipe extends. Raises ConfigurationError."""
    where = f"{source}, line {find_line(text, ('extends',))}"
    if read is None or not _FILE_NAME.fullmatch(base):
        raise ConfigurationError(f"{where}: {base!r} is not the name of a file beside this one")
    if depth >= MAX_EXTENDS:
        raise ConfigurationError(
            f"{where}: recipes extend each other more than {MAX_EXTENDS} times"
        )
    try:
        inner = read(base)
        return tomllib.loads(inner), inner
    except OSError as error:
        raise ConfigurationError(f"{where}: {base} cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{where}: {base} is not valid TOML: {error}") from error


def _inherit(
    inherited: dict[str, Any], tree: dict[str, Any], text: str, source: str
) -> dict[str, Any]:
    """Return a recipe with what it inherits, minus what it removes."""
    inherited = {k: v for k, v in inherited.items() if k not in _OWN}
    removed = tree.get("remove")
    for name in removed if isinstance(removed, list) else ():
        *above, last = str(name).split(".")
        table: Any = inherited
        for part in above:
            table = table.get(part) if isinstance(table, dict) else None
        if not isinstance(table, dict) or last not in table:
            line = find_line(text, ("remove",))
            raise ConfigurationError(
                f"{source}, line {line}: the recipe that it extends has no {str(name)[:80]!r}"
            )
        del table[last]
    own = tree.get("endpoint")
    if isinstance(own, dict) and "url" in own and isinstance(inherited.get("endpoint"), dict):
        inherited["endpoint"].pop("example", None)
    return _merge(inherited, tree)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge tables member by member; a different flow or format replaces the whole table."""
    merged = dict(base)
    for name, value in changes.items():
        before = base.get(name)
        merged[name] = value
        if isinstance(before, dict) and isinstance(value, dict):
            tags = [key for key in ("flow", "format") if key in value]
            if name != "attach" and all(before.get(key) == value[key] for key in tags):
                merged[name] = _merge(before, value)
    if changes.keys() & set(BODIES):  # a request has one body
        merged = {k: v for k, v in merged.items() if k not in BODIES or k in changes}
    return merged


_OWN = frozenset({"source", "recognise", "environment", "remove"})
"""Keys that are never inherited: a recipe's variables hold credentials for its own address."""
