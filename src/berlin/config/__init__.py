"""Settings: the TOML file and the environment become frozen values.

With the command line, this is the only reader of the environment.
"""

from berlin.config.paths import config_path, data_path
from berlin.config.resolve import (
    Overrides,
    Settings,
    default_provider,
    login_store,
    resolve_settings,
    split_model,
)
from berlin.config.schema import (
    BUILT_IN,
    Config,
    ProviderConfig,
    ResponsesConfig,
    ServerConfig,
    TokensConfig,
    load_config,
)
from berlin.config.tokens import open_store

__all__ = [
    "BUILT_IN",
    "Config",
    "Overrides",
    "ProviderConfig",
    "ResponsesConfig",
    "ServerConfig",
    "Settings",
    "TokensConfig",
    "config_path",
    "data_path",
    "default_provider",
    "load_config",
    "login_store",
    "open_store",
    "resolve_settings",
    "split_model",
]
