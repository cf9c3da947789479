"""The arguments of `berlin add`, resolved to a recipe and a URL."""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import msgspec

from berlin.cli.chat.opening import EMBEDDED
from berlin.cli.terminal import is_interactive, tell
from berlin.config import GUIDE, Config, ProviderConfig, config_path, resolve_recipe
from berlin.config.files import read_file
from berlin.errors import ConfigurationError
from berlin.recipes.recipe import Recipe, load_recipe, recipe_names
from berlin.recipes.recognise import Findings, Match, by_address, recognise
from berlin.types import Endpoint, is_loopback, suggest


class Choice(msgspec.Struct, frozen=True):
    """A recipe and its URL.

    Attributes:
        recipe: the recipe's name, or the name of its file beside the configuration.
        login: whether the service requires a login; `None` if that is unknown.
        model: the model that the address names, if it is that of a chat; else `""`.
    """

    recipe: str
    described: Recipe
    url: str
    login: bool | None = None
    file: Path | None = None
    model: str = ""


def choose(target: str, recipe: str | None, url: str | None, config: Path | None) -> Choice:
    """Return the recipe and the URL that the user means.

    Args:
        target: a URL, the name of a shipped recipe, or a recipe's file.
        recipe: the recipe to use at a URL, instead of detecting it.
        url: the address for a recipe.
        config: the configuration file, if not the user's.

    Raises:
        BerlinError: if no recipe fits.
        click.UsageError: if the arguments contradict each other.
    """
    is_file = target.endswith(".toml") and "://" not in target
    if (is_file or target in recipe_names()) and recipe is not None:
        raise click.UsageError(f"{target} is a recipe already; --recipe goes with a URL")
    if is_file:
        file = Path(target)
        name = _name_beside(file, config or config_path())
        described = resolve_recipe(str(file))
        address = url or _address(target, described, is_mine=True)
        return Choice(name, described, address, file=file)
    if target in recipe_names():
        described = load_recipe(target)
        return Choice(target, described, url or _address(target, described))
    if url is not None:
        raise click.UsageError("--url goes with a recipe; the address is already given")
    address = _as_url(target)
    endpoint = Endpoint.of(address, allow_http=True)  # nothing secret is sent yet
    if recipe is not None:
        below = load_recipe(recipe).recognise.below
        whole = address if not below or address.endswith(below) else address + below
        return Choice(recipe, load_recipe(recipe), whole)
    match = by_address(address) or _detect(endpoint)
    tell(f"{address} is {match.recipe}: {match.proof}")
    described = load_recipe(match.recipe)
    model = _model_in(address, described)
    return Choice(match.recipe, described, match.url, match.login, model=model)


def new_name(choice: Choice, wanted: str | None, config: Config) -> str:
    """Return the name of the new provider: that of one with this address, or a free one.

    Raises:
        click.UsageError: if the wanted name cannot be used.
    """
    if wanted is not None:
        if not re.fullmatch(r"[\w.-]{1,64}", wanted):
            raise click.UsageError(
                f"{wanted!r} is not a valid provider name: use letters, digits, '.', '_' and '-'"
            )
        if wanted in (EMBEDDED, GUIDE):
            raise click.UsageError(f"{wanted!r} is the name of the built-in guide; choose another")
        known = config.providers.get(wanted)
        if known is not None and not _is_same(known, choice):
            raise click.UsageError(
                f"there is another provider {wanted!r} already: {known.recipe} at "
                f"{known.url or 'its own address'}. Choose another name, or run: "
                f"berlin remove {wanted}"
            )
        return wanted
    base = choice.described.name
    for name, known in config.providers.items():
        if _is_same(known, choice):
            return name
    taken = {*config.providers}
    return next(n for n in (base, *(f"{base}-{k}" for k in range(2, 10_000))) if n not in taken)


def _is_same(known: ProviderConfig, choice: Choice) -> bool:
    return Path(known.recipe).name == choice.recipe and known.url in (choice.url, None)


def _detect(endpoint: Endpoint) -> Match:
    """Identify the service at a URL; the user chooses if several recipes match."""
    address = endpoint.url
    found = asyncio.run(recognise(endpoint))
    matches = found.services or found.dialects
    if not matches:
        raise ConfigurationError(_unknown(address, found))
    if len(matches) == 1:
        return matches[0]
    if found.services and is_interactive():
        tell(f"{address} could be one of these:")
        for n, match in enumerate(matches, 1):
            tell(f"  {n}  {match.recipe}: {match.proof}")
        n = click.prompt("Which one", type=click.IntRange(1, len(matches)), default=1, err=True)
        return matches[n - 1]
    if found.services:
        ways = " or ".join(f"berlin add {address} --recipe {match.recipe}" for match in matches)
        raise ConfigurationError(f"{address} could be one of several services; choose one: {ways}")
    best = next((m for m in matches if m.recipe == "openai-compatible"), matches[0])
    others = ", ".join(m.recipe for m in matches if m is not best)
    tell(f"it also supports: {others} (choose with --recipe)")
    return best


def _model_in(address: str, described: Recipe) -> str:
    """Return the model in an address copied from a service, such as `/webhook/ID/chat`."""
    before, named, after = (described.chat.path or "").partition("{model}")
    whole = re.search(f"{re.escape(before)}([^/]+){re.escape(after)}$", urlsplit(address).path)
    return unquote(whole[1]) if named and whole else ""


def _unknown(address: str, found: Findings) -> str:
    return (
        f"{address} is not a kind of service that Berlin knows: it answers {found.seen}.\n"
        "Describe it from one chat in your browser: save the network tab as a HAR file, then run:\n"
        "  berlin recipe new work.toml --har saved.har\n"
        "  berlin add work.toml"
    )


def _address(name: str, described: Recipe, *, is_mine: bool = False) -> str:
    """Return the URL for a recipe that was named without one."""
    endpoint = described.endpoint
    local = not is_mine and is_loopback(urlsplit(endpoint.url).hostname or "")
    if not endpoint.example and not (local and is_interactive()):
        return endpoint.url
    if not is_interactive():
        raise click.UsageError(f"{name} has no fixed address: add --url https://…")
    default = None if endpoint.example else endpoint.url
    return _as_url(click.prompt("Address of the service", default=default, err=True))


def _as_url(text: str) -> str:
    """Return a URL from what a person typed or copied from a browser; a bare host gets a scheme."""
    text = re.split("[?#]", text)[0]
    if "://" in text:
        return text.rstrip("/")
    place, slash, path = text.partition("/")
    if place.count(":") > 1 and not place.startswith("["):
        place = f"[{place}]"  # an IPv6 address
    host = place.removeprefix("[").partition("]")[0] if "[" in place else place.partition(":")[0]
    is_path = place in ("", ".", "..", "~")
    if is_path or ("." not in host and ":" not in text and host != "localhost"):
        hint = suggest(text, recipe_names(), "`berlin recipe list` lists the recipes", "{}")
        raise ConfigurationError(f"{text[:80]!r} is neither a URL nor a recipe; {hint}")
    return f"{'http' if is_loopback(host) else 'https'}://{place}{slash}{path}".rstrip("/")


def copy_beside(file: Path, config: Path, undo: ExitStack) -> None:
    """Copy a recipe from elsewhere beside the configuration. Raises ConfigurationError.

    Args:
        undo: removes the copy again if the rest fails.
    """
    copy = config.parent / file.name
    if file.resolve().is_relative_to(config.parent.resolve()) or copy.exists():
        return
    try:
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        undo.callback(copy.unlink, missing_ok=True)
        shutil.copyfile(file, copy)
    except OSError as error:
        raise ConfigurationError(f"{copy} cannot be written: {error.strerror or error}") from error
    tell(f"copied {file} to {copy}, beside the configuration")


def _name_beside(file: Path, config: Path) -> str:
    """Return the path of a recipe's file relative to the configuration, once it is copied there.

    Raises:
        ConfigurationError: if there is no such file, or it cannot be copied.
    """
    folder = config.parent.resolve()
    if not file.is_file():
        raise ConfigurationError(f"{file} does not exist")
    if file.resolve().is_relative_to(folder):
        return str(file.resolve().relative_to(folder))
    copy = folder / file.name
    if copy.exists() and copy.read_bytes() != file.read_bytes():
        raise ConfigurationError(f"{copy} already exists and differs from {file}")
    text = read_file(file)
    beside = re.search(r"""^\s*extends\s*=\s*["']([^"']*\.toml)["']""", text, re.MULTILINE)
    if beside and not (folder / beside[1]).exists():
        raise ConfigurationError(
            f"{file} extends {beside[1]}: copy both to {folder}, then run: berlin add {copy}"
        )
    return file.name
