"""`flow = "aws"`: where the keys come from that sign requests."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from berlin.auth.attach import Attach, FlowMap, attachments, check_attach
from berlin.auth.contract import Flow
from berlin.auth.flows.static import Given
from berlin.errors import ConfigurationError
from berlin.language.step import SESSION_NAMES

_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")


class SsoMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[auth.sso]`: a person logs in with AWS IAM Identity Center.

    Attributes:
        start_url: the AWS access portal, such as `https://your-company.awsapps.com/start`.
        region: the region of IAM Identity Center; not always that of the service.
        account: the id of the AWS account.
        role: the name of the role there.
        oidc_url: where the login is; by default that of the region.
        portal_url: where the role's keys are; by default that of the region.
    """

    start_url: str
    region: str
    account: str
    role: str
    oidc_url: str = ""
    portal_url: str = ""

    def __post_init__(self) -> None:
        if not _REGION.fullmatch(self.region):
            raise ValueError(f"sso.region is a region such as us-east-1, not {self.region[:40]!r}")
        if not re.fullmatch(r"[0-9]{12}", self.account):
            raise ValueError("sso.account is the number of an AWS account, with 12 digits")

    @property
    def login_url(self) -> str:
        """The OIDC service of IAM Identity Center."""
        return self.oidc_url or f"https://oidc.{self.region}.{self._domain}"

    @property
    def keys_url(self) -> str:
        """The portal that hands out the keys of roles."""
        return self.portal_url or f"https://portal.sso.{self.region}.{self._domain}"

    @property
    def _domain(self) -> str:
        return "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"


class AwsMap(FlowMap, frozen=True, tag="aws"):
    """`flow = "aws"`: each request is signed with an access key of AWS.

    Attributes:
        attach: how requests are signed: `sign = "aws4"` with `service` and `region`.
        keys: where the key comes from: `given` (its id is `client_id`, its secret `client_secret`),
            `container` (the role of an ECS task or of an EKS pod), `sso` (a person's role).
        sso: the login of that person.
    """

    attach: Attach
    keys: Literal["given", "container", "sso"] = "given"
    sso: SsoMap | None = None

    def flow(self) -> Flow:
        """Return the flow. Raises ConfigurationError."""
        from berlin.auth.flows.aws.container import ContainerKeys
        from berlin.auth.flows.aws.keys import given_keys
        from berlin.auth.flows.aws.sign_on import SingleSignOn

        if not any(one.sign for one in attachments(self.attach)):
            raise ConfigurationError('flow = "aws" needs attach = { sign = "aws4", … }')
        check_attach(self.attach, SESSION_NAMES | {"secret_access_key"})
        if (self.sso is not None) != (self.keys == "sso"):
            raise ConfigurationError('keys = "sso" needs the table [auth.sso], and it needs keys')
        if self.sso is not None:
            return SingleSignOn(self.sso)
        if self.keys == "container":
            return ContainerKeys()
        return Given(("client_id", "client_secret"), given_keys)
