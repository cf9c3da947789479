"""How a request carries its token: in a header, in the query, or in a cookie."""

from __future__ import annotations

import re

import msgspec

from berlin.types import HttpRequest, Secret

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[auth.attach]`: exactly one of `header`, `query` and `cookie`.

    Attributes:
        header: name of the header.
        query: name of the parameter in the URL.
        cookie: name of the cookie; `"*"` if the token is the whole Cookie header.
        prefix: what stands before the token, such as `"Bearer "`.
    """

    header: str = ""
    query: str = ""
    cookie: str = ""
    prefix: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.header, self.query, self.cookie))) != 1:
            raise ValueError("attach needs exactly one of header, query and cookie")
        for name in (self.header, self.cookie):
            if name and name != "*" and not _TOKEN.fullmatch(name):
                raise ValueError(f"attach: the name {name!r} cannot be sent")
        if not all("!" <= c <= "~" for c in self.query):
            raise ValueError(f"attach: the name {self.query!r} cannot be sent")
        if not all(" " <= c <= "~" for c in self.prefix):
            raise ValueError("attach.prefix holds characters that no header may carry")

    def apply(self, request: HttpRequest, token: Secret) -> HttpRequest:
        """Return the request with the token."""
        value = f"{self.prefix}{token.reveal()}"
        if self.query:
            query = {**request.query, self.query: Secret(value)}
            return msgspec.structs.replace(request, query=query)
        if self.cookie:
            value = value if self.cookie == "*" else f"{self.cookie}={value}"
            before = request.headers.get("Cookie")
            if before is not None:
                said = before.reveal() if isinstance(before, Secret) else before
                value = f"{said}; {value}"
        name = self.header or "Cookie"
        return msgspec.structs.replace(request, headers={**request.headers, name: Secret(value)})


BEARER = Attachment(header="Authorization", prefix="Bearer ")
