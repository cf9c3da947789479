"""Attaches credentials to a request: each in a header, in the query, or in a cookie."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from berlin.auth.grant import check_token
from berlin.auth.sigv4 import AwsKeys, sign
from berlin.errors import ConfigurationError, InvalidRequestError, ProtocolError
from berlin.language.values.functions import MADE, make_values
from berlin.language.values.header import HeaderTemplate
from berlin.language.values.text import names_in, parse_text, render_text
from berlin.types import HttpRequest, Secret

_NAME = re.compile(r"[a-z0-9-]{1,64}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[auth.attach]`, or one `[[auth.attach]]` of several: exactly one of `header`,
    `query` and `cookie`.

    Attributes:
        header: name of the header.
        query: name of the parameter in the URL.
        cookie: name of the cookie; `"*"` if the token is the whole Cookie header.
        prefix: text before the token, such as `"Bearer "`, which a token that begins with it is
            not given again.
        sign: `aws4`, instead of the three: the request is signed with AWS Signature Version 4,
            by the access key whose id is the token and whose secret is `secret_access_key`.
        service: the service's name in such signatures, such as `bedrock`.
        region: the region in such signatures, such as `us-east-1`.
        value: the value to send, with the placeholder `{token}` and those for values the login
            took.
    """

    header: str = ""
    query: str = ""
    cookie: str = ""
    prefix: str = ""
    sign: Literal["", "aws4"] = ""
    service: str = ""
    region: str = ""
    value: str = "{token}"

    def __post_init__(self) -> None:
        if sum(map(bool, (self.header, self.query, self.cookie, self.sign))) != 1:
            raise ValueError("attach needs exactly one of header, query and cookie")
        if bool(self.sign) != bool(self.service and self.region):
            raise ValueError('attach: sign = "aws4" needs service and region, and they need it')
        if not all(_NAME.fullmatch(name) for name in (self.service, self.region) if name):
            raise ValueError("attach: service and region are names such as bedrock, us-east-1")
        for name in (self.header, self.cookie):
            if name and name != "*" and not _TOKEN.fullmatch(name):
                raise ValueError(f"attach: the name {name!r} cannot be sent")
        if not all("!" <= c <= "~" for c in self.query):
            raise ValueError(f"attach: the name {self.query!r} cannot be sent")
        if not all(" " <= c <= "~" for c in self.prefix):
            raise ValueError("attach.prefix holds characters that no header may carry")
        try:
            pieces = parse_text(self.value)
        except ConfigurationError as error:  # msgspec reports the place only for a ValueError
            raise ValueError(error.message) from error
        if not pieces:
            raise ValueError("attach.value is empty")

    @property
    def names(self) -> frozenset[str]:
        """The placeholders in its value, or the values it signs with."""
        if self.sign:
            return frozenset({"token", "secret_access_key"})
        return _names_in(self.value)

    @property
    def where(self) -> str:
        """The place in words: `the header X-Key`."""
        places = {"header": self.header, "query": self.query, "cookie": self.cookie}
        return next((f"the {k} {v}" for k, v in places.items() if v), "the signature")

    def apply(
        self,
        request: HttpRequest,
        token: Secret,
        values: Mapping[str, str] = {},
        base_url: str = "",
    ) -> HttpRequest:
        """Return the request with the credential. Raises ProtocolError.

        Args:
            values: the other values the login took.
            base_url: the endpoint's URL, for a signature.
        """
        if self.sign:
            secret = Secret(values["secret_access_key"])
            keys = AwsKeys(token.reveal(), secret, values.get("session_token", ""))
            return sign(request, base_url, keys, self.service, self.region)
        if self.value == "{token}":
            value = token.reveal()
            # Some logins give the token with the scheme in which it is sent.
            is_whole = self.prefix.endswith(" ") and value.lower().startswith(self.prefix.lower())
            value = value if is_whole else f"{self.prefix}{value}"
        else:
            known = {**make_values(self.names), **values, "token": token.reveal()}
            if not self.query:
                self._check_parts(known)
            filled = render_text(parse_text(self.value), known)
            value = self.prefix + check_token(filled, "what the login gave").reveal()
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

    def _check_parts(self, values: Mapping[str, object]) -> None:
        try:
            _parts_of(self.header or "Cookie", self.value).check(values)
        except InvalidRequestError as error:
            raise ProtocolError(error.message) from None


@lru_cache
def _parts_of(header: str, value: str) -> HeaderTemplate:
    return HeaderTemplate(header, value, _names_in(value))


@lru_cache
def _names_in(value: str) -> frozenset[str]:
    return frozenset(names_in(parse_text(value)))


Attach: TypeAlias = Attachment | list[Attachment]
"""The value in a recipe: one, or several."""


def attachments(attach: Attach) -> tuple[Attachment, ...]:
    """Return the value in a recipe as a tuple."""
    return (attach,) if isinstance(attach, Attachment) else tuple(attach)


def check_attach(attach: Attach, names: frozenset[str]) -> None:
    """Check the placeholders in the values that requests carry. Raises ConfigurationError."""
    if not attachments(attach):
        raise ConfigurationError("attach is empty: say how requests carry the token")
    for one in attachments(attach):
        for name in one.names - MADE.keys():
            if name not in names:
                known = ", ".join(f"{{{known}}}" for known in sorted(names))
                raise ConfigurationError(
                    f"unknown placeholder {{{name}}} in attach.value; known: {known}"
                )


BEARER = Attachment(header="Authorization", prefix="Bearer ")


class FlowMap(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="flow"
):
    """The table `[auth]`, for each `flow`.

    Attributes:
        attach: how requests carry the token.
        rejected_statuses: the statuses that mean that the token is no longer valid.
    """

    attach: Attach = BEARER
    rejected_statuses: tuple[int, ...] = (401,)
