"""`berlin token` and `berlin exec`: one login for all programs of this machine."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from berlin.auth.access import AccessToken
from berlin.cli.options import (
    complete_provider,
    config_option,
    load_for_commands,
    provider_to_log_in,
)
from berlin.client import Berlin
from berlin.config import resolve_settings
from berlin.errors import ConfigurationError

TOKEN_VARIABLE = "BERLIN_TOKEN"  # a name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@click.command()
@click.argument("provider", required=False, shell_complete=complete_provider)
@click.option("--header", "as_header", is_flag=True, help="Print it as a header: `Name: value`.")
@click.option("--json", "as_json", is_flag=True, help="Print token, headers and expiry as JSON.")
@click.option("--env", "variable", metavar="NAME", help="Print it as an assignment: `NAME=token`.")
@click.option(
    "--for",
    "program",
    type=click.Choice(["kubectl", "docker"]),
    help="Print it as a credential plugin of this program does.",
)
@click.option(
    "--reject",
    metavar="TOKEN",
    help="A token that the service refused: print a new one. `-` reads it from standard input, "
    "which keeps it out of process lists.",
)
@config_option
def token(
    provider: str | None,
    as_header: bool,
    as_json: bool,
    variable: str | None,
    program: str | None,
    reject: str | None,
    config: Path | None,
) -> None:
    """Print a valid token of PROVIDER (default: the default provider), after a login if needed.

    All programs of this user share the token, so there is only one login. Claude Code's
    `apiKeyHelper`, Codex's command authentication or `curl -H @-` can call this command. To run a
    program with the token, see `berlin exec`.
    """
    if as_header + as_json + (variable is not None) + (program is not None) > 1:
        raise click.UsageError("use only one of --header, --json, --env and --for")
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise click.UsageError(f"{variable!r} is not the name of an environment variable")
    refused = sys.stdin.readline().strip() if reject == "-" else reject
    found = _token_of(provider, config, refused)
    if as_json:
        click.echo(_json(found))
    elif program is not None:
        click.echo(_credential(found, program))
    elif as_header:
        click.echo("\n".join(f"{n}: {v}" for n, v in found.headers_only().items()))
    else:
        click.echo(f"{variable}={found}" if variable else str(found))


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option(
    "--env",
    "variable",
    metavar="NAME",
    default=TOKEN_VARIABLE,
    show_default=True,
    help="The environment variable that holds the token.",
)
@config_option
@click.argument("provider", shell_complete=complete_provider)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(provider: str, command: tuple[str, ...], variable: str, config: Path | None) -> None:
    """Run COMMAND with a valid token of PROVIDER in an environment variable.

    The token is not passed as an argument, so process lists do not show it:

        berlin exec work --env OPENAI_API_KEY -- my-program --flag
    """
    if not _VARIABLE.fullmatch(variable):
        raise click.UsageError(f"{variable!r} is not the name of an environment variable")
    environ = {**os.environ, variable: str(_token_of(provider, config, None))}
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606  # what the user asked for
    except OSError as error:
        raise ConfigurationError(f"{command[0]} cannot be run: {error.strerror}") from error


def _token_of(provider: str | None, config: Path | None, refused: str | None) -> AccessToken:
    known = load_for_commands(config)
    settings = resolve_settings(provider or provider_to_log_in(known), known)

    async def get() -> AccessToken:
        async with Berlin.from_settings(settings) as berlin:
            if refused:
                berlin.reject_token(refused)
            return await berlin.token()

    return asyncio.run(get())


def _credential(found: AccessToken, program: str) -> str:
    """Return the output of kubectl's exec plugins or docker's credential helpers."""
    if program == "docker":
        server = "" if sys.stdin.isatty() else sys.stdin.readline().strip()
        # This name says that the secret is a token.
        return _text({"ServerURL": server, "Username": "<token>", "Secret": str(found)})
    status = {"token": str(found)}
    if found.expires_at is not None:
        at = datetime.fromtimestamp(found.expires_at, UTC)
        status["expirationTimestamp"] = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    version = "client.authentication.k8s.io/v1"
    return _text({"apiVersion": version, "kind": "ExecCredential", "status": status})


def _text(document: dict[str, object]) -> str:
    return msgspec.json.encode(document).decode()


def _json(found: AccessToken) -> str:
    document: dict[str, object] = {
        "token": str(found),
        "expires_at": found.expires_at,
        "headers": {name: value.reveal() for name, value in found.headers.items()},
        "query": {name: value.reveal() for name, value in found.query.items()},
    }
    return _text(document)
