"""Keys that sign requests to AWS: given, from the container's platform, or by single sign-on."""

from berlin.auth.flows.aws.table import AwsMap, SsoMap

__all__ = ["AwsMap", "SsoMap"]
