"""The page at `/`: for browsers, and for clients that check whether the gateway runs."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache

import berlin
from berlin.errors import BerlinError
from berlin.gateway import web
from berlin.gateway.chat import Gateway
from berlin.gateway.face import of_models

RUNNING = "Berlin is running. Open this address in a browser to see how programs connect.\n"
MAX_MODELS = 200
# The address and the model that docs/clients.md writes in its examples.
EXAMPLE_URL = "http://127.0.0.1:4114"

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "pre,code{font-family:ui-monospace,monospace;font-size:.9em}"
    "pre{overflow:auto;padding:.7rem;border:1px solid #8886;border-radius:6px}"
    "td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
    "summary{cursor:pointer;margin:.3rem 0}:root{color-scheme:light dark}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


async def show_page(gateway: Gateway, request: web.Request) -> web.Response:
    """Show what the gateway is, its models, and how each client connects."""
    if "text/html" not in request.headers.get("Accept", ""):
        return web.Response(text=RUNNING, headers=HEADERS)
    address = _address(request)
    try:
        caller = await gateway.guard.identify(request, "models")
    except BerlinError:
        text = render(address, None)
    else:
        text = await of_models(gateway, caller, lambda names: render(address, list(names)))
    return web.Response(text=text, content_type="text/html", headers=HEADERS)


def render(address: str, models: list[str] | None) -> str:
    """Return the page.

    Args:
        address: the gateway's base URL, as seen by the reader.
        models: the names of models; `None` if the reader may not see them.
    """
    shown = html.escape(address)
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>Berlin</title><style>{_STYLE}</style></head><body>",
        f"<h1>Berlin {html.escape(berlin.__version__)}</h1>",
        "<p>This is a gateway to chat services, for programs that speak the API of OpenAI, "
        "Anthropic or Ollama. It is running.</p>",
        "<table>"
        f"<tr><th>OpenAI<td><code>{shown}/v1</code>"
        f"<tr><th>Anthropic, Ollama<td><code>{shown}</code>"
        "<tr><th>Key<td>the key that <code>berlin key add NAME</code> printed on the gateway's "
        "machine; any text while there are no keys</table>",
        "<h2>Models</h2>",
        _describe(models, shown),
        "<h2>Connect a program</h2>",
        *(
            f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(code)}</pre>"
            "</details>"
            for title, code in _clients(address, models[0] if models else "work")
        ),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _describe(models: list[str] | None, address: str) -> str:
    if models is None:
        return (
            "<p>They are listed for those who have a key:</p>"
            f"<pre>curl -s {address}/v1/models -H 'Authorization: Bearer bk-…'</pre>"
        )
    if not models:
        return "<p>There are none yet: <code>berlin add https://your.service</code></p>"
    names = ", ".join(f"<code>{html.escape(name)}</code>" for name in models[:MAX_MODELS])
    more = len(models) - MAX_MODELS
    return f"<p>{names}{f' and {more} more' if more > 0 else ''}</p>"


def _clients(address: str, model: str) -> list[tuple[str, str]]:
    """Return the clients with their settings, for this address and a model of it."""
    return [
        (title, re.sub(r"\bwork\b", lambda _: model, code.replace(EXAMPLE_URL, address)))
        for title, code in _examples()
    ]


@cache
def _examples() -> tuple[tuple[str, str], ...]:
    """Return the titles and the first examples of docs/clients.md."""
    from berlin.providers.guide.sections import load_sections  # the whole manual, once shown

    found = []
    for section in load_sections():
        code = re.search(r"```\w*\n(.*?)\n```", section.body, re.DOTALL)
        if section.page == "docs/clients.md" and code and EXAMPLE_URL in code[1]:
            found.append((section.title, code[1]))
    return tuple(found)


def _address(request: web.Request) -> str:
    """Return the gateway's address as seen by the reader's browser, also behind TLS."""
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    scheme = forwarded if forwarded in ("http", "https") else request.scheme
    return f"{scheme}://{request.host}"
