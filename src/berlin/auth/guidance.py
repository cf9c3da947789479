"""Messages that say what to do when credentials are missing or a login has expired."""

from __future__ import annotations

from collections.abc import Mapping

IN_WORDS = {
    "account": "account",
    "password": "password",
    "api_key": "API key",
    "client_id": "client ID",
    "client_secret": "client secret",
    "refresh_token": "refresh token",
    "private_key": "private key",
    "assertion": "assertion (a signed token)",
    "totp_seed": "seed of the one-time codes",
    "code": "one-time code",
}


def login_command(name: str) -> str:
    """Return the command that logs in; `berlin` is the provider that needs no name."""
    return "`berlin login`" if name in ("", "berlin") else f"`berlin login {name}`"


def explain_missing(missing: list[str], variables: Mapping[str, str], name: str) -> str:
    """Return the message for missing credentials.

    Args:
        variables: the environment variables that may hold them, by name.
        name: the provider's name; see `login_command`.
    """
    if "code" in missing:
        return f"a person has to type a one-time code first: run {login_command(name)}"
    if name in ("", "berlin"):
        variables = {**{key: f"BERLIN_{key.upper()}" for key in missing}, **variables}
    ways = [f"as arguments ({', '.join(f'{key}=…' for key in missing)})"]
    if all(key in variables for key in missing):
        ways.append(f"in the environment ({', '.join(variables[key] for key in missing)})")
    words = " and ".join(IN_WORDS[key] for key in missing)
    it = "it" if len(missing) == 1 else "them"
    return (
        f"there is no {words} to log in with. Give {it} {', '.join(ways)}, in the configuration "
        f"file, or with {login_command(name)}"
    )
