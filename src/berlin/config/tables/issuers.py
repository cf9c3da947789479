"""The tables `[issuers.NAME]`: identity providers whose tokens (JWT) take the place of a key."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

import msgspec

from berlin.config.tables.limits import parse_rule

Algorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures with a public key only: with a shared secret, the public key of an issuer could be
used as that secret (key confusion)."""


class IssuerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table `[issuers.NAME]`.

    Attributes:
        issuer: the claim `iss` of its tokens, an https URL.
        audience: the claim `aud` of tokens that are for this gateway; one of these.
        jwks: the URL of its public keys; by default as its metadata say (OpenID Connect Discovery).
        algorithms: the accepted signatures.
        leeway_s: how many seconds its clock may differ.
        user: the claim that names the user.
        limits: limits of each of its users, besides those of `[limits]`.
        limits_claim: a claim with more of them.
        models: the models that its users may use; all unless given.
        models_claim: a claim with the models, instead.
        scopes: what its users may do; everything unless given.
        ca_file: PEM file with the certificates to trust.
    """

    issuer: str
    audience: str | tuple[str, ...]
    jwks: str | None = None
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    leeway_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 30.0
    user: str = "sub"
    limits: tuple[str, ...] = ()
    limits_claim: str | None = None
    models: tuple[str, ...] = ()
    models_claim: str | None = None
    scopes: tuple[Literal["chat", "models", "usage"], ...] = ()
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if not self.audiences or not all(self.audiences):
            raise ValueError("audience must name this gateway, as the tokens' claim aud does")
        if not self.algorithms:
            raise ValueError(f"algorithms must name one of {', '.join(get_args(Algorithm))}")
        for text in self.limits:
            parse_rule(text)

    @property
    def audiences(self) -> tuple[str, ...]:
        """All audiences."""
        return (self.audience,) if isinstance(self.audience, str) else self.audience
