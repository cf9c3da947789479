"""OAuth 2.0: the flow of a token endpoint, with every supported grant."""

from berlin.auth.flows.oauth2.flow import OAuth2Flow
from berlin.auth.flows.oauth2.table import DEVICE_GRANT, OAuth2Map

__all__ = ["DEVICE_GRANT", "OAuth2Flow", "OAuth2Map"]
