"""`flow = "oauth2"`: the settings of a token endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from berlin.auth.attach import FlowMap, check_attach
from berlin.errors import ConfigurationError
from berlin.language.step import SESSION_NAMES

if TYPE_CHECKING:
    from berlin.auth.contract import Flow

GrantKind: TypeAlias = Literal[
    "client_credentials",
    "password",
    "refresh_token",
    "device_code",
    "authorization_code",
    "jwt_bearer",
    "token_exchange",
    "signed",
]
ClientAuth: TypeAlias = Literal["basic", "body", "private_key_jwt", "assertion", "mtls", "none"]
Algorithm: TypeAlias = Literal["RS256", "PS256", "ES256", "RS384", "ES384", "PS384", "EdDSA"]

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
JWT_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"

# What each grant needs besides client authentication.
_NEEDS: dict[GrantKind, tuple[str, ...]] = {
    "client_credentials": ("client_id",),
    "password": ("account", "password"),
    "refresh_token": ("refresh_token",),
    "device_code": ("client_id",),
    "authorization_code": ("client_id",),
    "jwt_bearer": (),
    "token_exchange": ("assertion",),
    "signed": ("private_key",),
}
_PROVES: dict[ClientAuth, tuple[str, ...]] = {
    "basic": ("client_secret",),
    "body": ("client_secret",),
    "private_key_jwt": ("client_id", "private_key"),
    "assertion": ("assertion",),
    "mtls": ("client_id",),
    "none": (),
}


class SignMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[auth.sign]`: the JWT that Berlin signs (RFC 7523), for `jwt_bearer`,
    `private_key_jwt` and `signed`.

    A claim may hold `{client_id}`, `{account}` and `{token_url}`.

    Attributes:
        algorithm: the signature algorithm (RFC 7518).
        key_id: `kid` of the header; `""` leaves it out.
        issuer: `iss`.
        subject: `sub`; `""` means the issuer.
        audience: `aud`.
        lifetime_s: seconds until it expires.
        claims: further claims.
        headers: further members of the header, such as `x5t#S256`.
        omit: claims that are left out, for a service that wants only those it documents.
    """

    algorithm: Algorithm = "RS256"
    key_id: str = ""
    issuer: str = "{client_id}"
    subject: str = ""
    audience: str = "{token_url}"
    lifetime_s: int = 300
    claims: dict[str, str] = {}
    headers: dict[str, str] = {}
    omit: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.lifetime_s <= 3600:
            raise ValueError("sign.lifetime_s must be from 1 to 3600 seconds")
        if {"alg", "typ"} & self.headers.keys():
            raise ValueError("sign.headers may not hold alg and typ; set algorithm instead")


class OAuth2Map(FlowMap, frozen=True, tag="oauth2"):
    """`flow = "oauth2"`: the table `[auth]`.

    Attributes:
        grant: how the token is requested. `device_code` and `authorization_code` need a person.
        issuer: the authorization server, whose metadata names the endpoints (RFC 8414 and OpenID
            Connect Discovery). Endpoints given here take precedence.
        token_url: the token endpoint: a whole URL, or a path below the endpoint's URL.
        device_url: the device authorization endpoint, for `device_code`.
        authorize_url: the page where a person logs in, for `authorization_code`.
        redirect_port: the loopback port of the redirect; 0 takes a free one, which RFC 8252
            requires servers to allow.
        redirect_path: the path of the redirect.
        scope: the requested scopes, separated by spaces.
        resource: the services that the token is for (RFC 8707).
        client_auth: how the client authenticates itself: `basic` or `body` (its secret, RFC 6749,
            2.3.1), `private_key_jwt` (a JWT that Berlin signs), `assertion` (a JWT signed by a
            third party, such as a projected token), `mtls` (the endpoint's client certificate, RFC
            8705), `none` (a public client).
        sign: the JWT that Berlin signs.
        subject_token_type: the type of the token in `assertion`, for `token_exchange` (RFC 8693).
        parameters: further parameters of the token request, such as `audience`.
        authorize_parameters: further parameters of the authorization page, such as `prompt`.
    """

    grant: GrantKind
    issuer: str = ""
    token_url: str = ""
    device_url: str = ""
    authorize_url: str = ""
    redirect_port: int = 0
    redirect_path: str = "/callback"
    scope: str = ""
    resource: tuple[str, ...] = ()
    client_auth: ClientAuth = "basic"
    sign: SignMap | None = None
    subject_token_type: str = JWT_TOKEN_TYPE
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    authorize_parameters: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def needs_person(self) -> bool:
        """Whether a full login needs a person."""
        return self.grant in ("device_code", "authorization_code")

    @property
    def signs(self) -> SignMap:
        """The JWT to sign, with the usual claims by default."""
        return self.sign or SignMap()

    @property
    def needs(self) -> tuple[str, ...]:
        """The credentials that this grant requires."""
        proof = _PROVES[self.client_auth]
        if self.client_auth in ("basic", "body") and self.grant != "client_credentials":
            proof = ()  # a public client has no secret
        key = ("private_key",) if self.grant == "jwt_bearer" and not self.takes_assertion else ()
        given = ("assertion",) if self.takes_assertion else ()
        grant = _NEEDS[self.grant]
        if self.client_auth == "assertion" and self.grant == "client_credentials":
            grant = ()
        return tuple(dict.fromkeys((*grant, *key, *given, *proof)))

    @property
    def takes_assertion(self) -> bool:
        """Whether `jwt_bearer` sends a JWT signed by a third party."""
        return self.grant == "jwt_bearer" and self.sign is None

    def flow(self) -> Flow:
        """Return the flow. Raises ConfigurationError."""
        from berlin.auth.flows.oauth2.flow import OAuth2Flow

        self._check()
        check_attach(self.attach, SESSION_NAMES)
        return OAuth2Flow(self)

    def _check(self) -> None:
        if not self.token_url and not self.issuer and self.grant != "signed":
            raise ConfigurationError("auth needs token_url, or an issuer that names it")
        for grant, name in (
            ("device_code", "device_url"),
            ("authorization_code", "authorize_url"),
        ):
            given = bool(getattr(self, name))
            if given and self.grant != grant:
                raise ConfigurationError(f'{name} belongs to grant = "{grant}"')
            if self.grant == grant and not given and not self.issuer:
                raise ConfigurationError(f'grant = "{grant}" needs {name}, or an issuer')
        signs = self.grant in ("jwt_bearer", "signed") or self.client_auth == "private_key_jwt"
        if self.sign is not None and not signs:
            raise ConfigurationError(
                'sign belongs to grant = "jwt_bearer" or "signed", or to client_auth = '
                '"private_key_jwt"'
            )
        if not 0 <= self.redirect_port < 65536 or not self.redirect_path.startswith("/"):
            raise ConfigurationError("redirect_port is 0 to 65535, redirect_path begins with /")
