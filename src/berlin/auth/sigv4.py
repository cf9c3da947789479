"""AWS Signature Version 4: signs the exact bytes of a request, again each time it is sent.

Source: Amazon's documentation of the signing process, and its published test suite of signatures.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import msgspec

from berlin.types import HttpRequest, Secret

ALGORITHM = "AWS4-HMAC-SHA256"


class AwsKeys(msgspec.Struct, frozen=True):
    """The keys that sign a request.

    Attributes:
        id: the id of the access key.
        session_token: the session token of temporary keys; `""` for others.
    """

    id: str
    secret: Secret
    session_token: str = ""


def sign(
    request: HttpRequest,
    base_url: str,
    keys: AwsKeys,
    service: str,
    region: str,
    now: datetime | None = None,
) -> HttpRequest:
    """Return the request with its signature.

    Its path and query are encoded here, so that what is sent is what was signed.

    Args:
        service: the service's name in signatures, such as `bedrock`.
        region: the region, such as `us-east-1`.
        now: the time; by default now.
    """
    base = urlsplit(request.path if "://" in request.path else base_url)
    path = base.path if "://" in request.path else base.path.rstrip("/") + request.path
    query = canonical_query({name: _clear(value) for name, value in request.query.items()})
    at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    signed = {
        "host": base.netloc,
        "x-amz-date": at,
        **({"x-amz-security-token": keys.session_token} if keys.session_token else {}),
    }
    for name, value in request.headers.items():
        if name.lower() == "content-type":
            signed["content-type"] = _clear(value)
    header = authorization(
        request.method, path, query, signed, request.body, keys, service, region, at
    )
    more: dict[str, str | Secret] = {"X-Amz-Date": Secret(at), "Authorization": Secret(header)}
    if keys.session_token:
        more["X-Amz-Security-Token"] = Secret(keys.session_token)
    written = request.path + (f"?{query}" if query else "")
    return msgspec.structs.replace(
        request, path=written, query={}, headers={**request.headers, **more}
    )


def authorization(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: AwsKeys,
    service: str,
    region: str,
    at: str,
) -> str:
    """Return the value of the `Authorization` header.

    Args:
        path: the path as it is sent.
        query: the query in its canonical form.
        headers: the signed headers; names in lower case.
        service: the service's name in signatures.
        at: the time, as in the header X-Amz-Date.
    """
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    canonical = "\n".join(
        (
            method,
            quote(path or "/", safe="/-_.~"),
            query,
            lines,
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join((ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{keys.secret.reveal()}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    return f"{ALGORITHM} Credential={keys.id}/{scope}, SignedHeaders={names}, Signature={signature}"


def canonical_query(query: Mapping[str, str]) -> str:
    """Return the parameters of a URL, encoded and in order."""
    pairs = [(quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items()]
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _clear(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value
