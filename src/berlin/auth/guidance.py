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


def explain_missing(missing: list[str], known_variables: Mapping[str, str], command: str) -> str:
    """Return the message for missing credentials.

    Args:
        known_variables: the environment variables that may hold them, by name.
        command: the command that logs in.
    """
    if "code" in missing:
        return f"a person has to type a one-time code first: run {command}"
    words = " and ".join(IN_WORDS[name] for name in missing)
    arguments = ", ".join(f"{name}=…" for name in missing)
    if all(name in known_variables for name in missing):
        variables = ", ".join(known_variables[name] for name in missing)
    else:
        named = ", ".join(f"BERLIN_{name.upper()}" for name in missing)
        variables = f"{named}, for the provider `berlin`"
    ways = (
        f"as arguments ({arguments}), in the environment ({variables}), in the configuration "
        f"file, or with {command}"
    )
    it = "it" if len(missing) == 1 else "them"
    return f"there is no {words} to log in with. Give {it} in one of four ways: {ways}"
