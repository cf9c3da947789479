"""The keys of a container's role, from the endpoint that its platform names (ECS, EKS).

Source: https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from berlin.auth.contract import Send, Unattended
from berlin.auth.credentials import Credentials
from berlin.auth.flows.aws.keys import read_keys
from berlin.auth.grant import Grant
from berlin.auth.secret_sources import FileSecret
from berlin.errors import ConfigurationError, MissingCredentialsError
from berlin.types import HttpRequest, Secret, is_loopback, split_url

RELATIVE, FULL = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN, TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"

ECS = "http://169.254.170.2"
# Hosts that may be asked over plain HTTP, besides this machine: those of ECS and EKS.
HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})


class ContainerKeys(Unattended):
    """Asks the platform for the keys of this container's role."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    async def obtain(self, credentials: Credentials, send: Send) -> Grant:
        """Ask for keys; see `Flow`."""
        headers: dict[str, str | Secret] = {"Accept": "application/json"}
        token = self._token()
        if token is not None:
            headers["Authorization"] = token
        response = await send(HttpRequest("GET", self._url(), headers))
        return read_keys(response, "the container's credentials")

    def _url(self) -> str:
        relative, full = self._environ.get(RELATIVE, ""), self._environ.get(FULL, "")
        if relative:
            if not relative.startswith("/"):
                raise ConfigurationError(f"{RELATIVE} must begin with '/', not {relative[:40]!r}")
            return ECS + relative
        if not full:
            raise MissingCredentialsError(
                f"this is not a container with a role: neither {RELATIVE} (ECS) nor {FULL} (EKS "
                "Pod Identity) is set"
            )
        parts = split_url(full, FULL, ("https", "http"))
        host = parts.hostname or ""
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and (host in HOSTS or is_loopback(host))
        )
        if not is_safe:
            raise ConfigurationError(
                f"{FULL} must be https, or the address of ECS, EKS or this machine, not "
                f"{full[:80]!r}; nothing was sent there"
            )
        return full

    def _token(self) -> Secret | None:
        file, given = self._environ.get(TOKEN_FILE, ""), self._environ.get(TOKEN, "")
        if file:  # read again each time: the platform replaces it
            return Secret(FileSecret(file).read())
        return Secret(given) if given else None
