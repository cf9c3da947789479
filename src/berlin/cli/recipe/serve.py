"""`berlin recipe serve`: a fake of the service that a recipe describes, on this machine."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from berlin.auth.credentials import Credentials
from berlin.cli.recipe.file import RecipeFile
from berlin.cli.terminal import tell
from berlin.errors import ConfigurationError
from berlin.gateway.serving.server import stop_signals
from berlin.providers.contract import Provider
from berlin.providers.echo import EchoProvider
from berlin.providers.guide import GuideProvider
from berlin.recipes.recipe import Recipe
from berlin.types import Secret
from berlin.workbench.draft.toml_writer import recipe_tree, write_toml
from berlin.workbench.fake import CREDENTIALS, open_fake, redirect, whole_urls

PORT = 4115
GIVEN = ("account", "password", "api_key", "client_id", "client_secret", "refresh_token")


@click.command()
@click.argument("file")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option("--account", default="ann", show_default=True, help="The account that may log in.")
@click.option("--password", default="secret", show_default=True, help="Its password.")
@click.option("--api-key", default="fake-api-key", show_default=True, help="The API key.")
@click.option("--token-lifetime", type=click.FloatRange(0), default=3600.0, help="In seconds.")
@click.option("--echo", is_flag=True, help="Answer with the prompt instead of the guide.")
@click.option(
    "--copy",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT",
    help="Write a copy of the recipe whose URLs all point to the fake.",
)
def serve(
    file: str,
    port: int,
    account: str,
    password: str,
    api_key: str,
    token_lifetime: float,
    echo: bool,
    copy: Path | None,
) -> None:
    """Run a fake of a recipe's service, on this machine only.

    FILE is a recipe's file, or the name of a recipe that comes with Berlin. The fake checks
    logins, tokens, cookies and ids as the recipe describes them, and answers from the built-in
    guide. It prints a line for each request. Ctrl-C stops it.
    """
    recipe = RecipeFile.open(file).recipe
    credentials = msgspec.structs.replace(
        CREDENTIALS, account=account, password=Secret(password), api_key=Secret(api_key)
    )
    answers: Provider = EchoProvider() if echo else GuideProvider()
    if copy is not None and copy.exists():
        raise ConfigurationError(f"{copy} already exists; name another file for the copy")
    fake = open_fake(recipe, answers, credentials, port=port, lifetime_s=token_lifetime, note=tell)
    asyncio.run(_serve(fake, file, recipe, credentials, copy))


async def _serve(
    fake: AbstractAsyncContextManager[str],
    file: str,
    recipe: Recipe,
    credentials: Credentials,
    copy: Path | None,
) -> None:
    async with stop_signals() as asked, fake as url:
        if copy is not None:
            _write_copy(recipe, url, copy)
            file = str(copy)
        elif whole_urls(recipe):
            tell(
                "this recipe also has absolute URLs, which `url` does not change: "
                f"{', '.join(whole_urls(recipe))}. --copy OUT writes a copy that points to the fake"
            )
        click.echo(_table(file, recipe, credentials, url))
        tell(f"playing {recipe.name} on {url} (Ctrl-C stops)")
        await asked.wait()


def _write_copy(recipe: Recipe, url: str, copy: Path) -> None:
    parts = urlsplit(url)
    moved = redirect(recipe, f"{parts.scheme}://{parts.netloc}")
    copy.write_text(write_toml(recipe_tree(moved)), encoding="utf-8")


def _table(file: str, recipe: Recipe, credentials: Credentials, url: str) -> str:
    """Return the table for berlin.toml."""
    flow = recipe.auth.flow()
    values = credentials.values()
    needs = flow.needs if flow is not None else ()
    lines = [
        "# for berlin.toml, with the recipe's file beside it; then: berlin chat -m fake Hello",
        "[providers.fake]",
        f"recipe = {json.dumps(Path(file).name)}",
        f"url = {json.dumps(url)}",
        *(f"{name} = {json.dumps(values[name])}" for name in GIVEN if name in needs),
    ]
    return "\n".join(lines)
