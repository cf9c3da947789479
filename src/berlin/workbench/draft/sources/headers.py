"""Selects the headers of a request that belong in a recipe."""

from __future__ import annotations

import re

from berlin.language.secrets_scan import looks_secret
from berlin.workbench.draft.sources.captured import Captured

MAX_HEADER_CHARS = 200

# Headers about the browser, about the HTTP message, and of the login.
LEFT_OUT = re.compile(
    r"(:.*|accept.*|sec-.*|user-agent|origin|referer|host|connection|content-.*|cache-control|dnt"
    r"|pragma|priority|te|upgrade.*|if-.*|keep-alive|transfer-encoding|x-requested-with|expect"
    r"|cookie|authorization|proxy-.*|traceparent|tracestate|baggage|sentry-trace|x-forwarded-.*"
    r"|.*(csrf|xsrf).*)",
    re.IGNORECASE,
)


def kept_headers(request: Captured, secrets: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the headers that belong to the service and reveal nothing about the user."""
    return {
        name: value
        for name, value in request.headers
        if not LEFT_OUT.fullmatch(name)
        and not looks_secret(name, value)
        and not any(secret in value for secret in secrets)
        and value.isascii()
        and len(value) <= MAX_HEADER_CHARS
    }
