"""Access keys of AWS as a grant: the id of the key is the token."""

from __future__ import annotations

import time
from typing import Any

from berlin.auth.flows.login import outline, read_answer
from berlin.auth.grant import Grant, check_token, parse_grant
from berlin.errors import ProtocolError
from berlin.types import HttpResponse


def given_keys(values: dict[str, str]) -> Grant:
    """Return the keys that the credentials hold."""
    token = check_token(values["client_id"], "the id of the access key")
    return Grant(token, time.time(), values={"secret_access_key": values["client_secret"]})


def read_keys(response: HttpResponse, where: str, inside: str = "") -> Grant:
    """Return the temporary keys in a response.

    Args:
        where: the request, for the error.
        inside: the member that holds the keys; `""` if they are members of the response itself.

    Raises:
        AuthenticationError: if the keys are refused.
        BerlinError: for all other failures.
    """
    answer = read_answer(response, "", where)
    found: Any = answer.get(inside) if inside else answer
    # One service writes AccessKeyId and Token, another accessKeyId and sessionToken.
    names = {n[:1].lower() + n[1:]: v for n, v in found.items()} if isinstance(found, dict) else {}
    values = {
        "token": names.get("accessKeyId"),
        "secret_access_key": names.get("secretAccessKey"),
        "session_token": names.get("sessionToken") or names.get("token"),
        "expires_at": names.get("expiration"),
    }
    for name in ("secret_access_key", "session_token"):
        if values["token"] and (not isinstance(values[name], str) or not values[name]):
            raise ProtocolError(f"{where}: the response has no {name}")
    return parse_grant(values, time.time(), outline(answer), where)
