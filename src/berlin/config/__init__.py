"""Settings: turns the TOML file and the environment into frozen values, and names into providers.

Only this package and the command line read the environment.
"""

from berlin.config.credentials import login_store
from berlin.config.load import load_config
from berlin.config.names import Names, Target, find_model
from berlin.config.paths import config_path, data_path
from berlin.config.providers import (
    ENVIRONMENT_PROVIDER,
    GUIDE,
    ModelOffer,
    default_of_file,
    default_provider,
    find_provider,
    installed_providers,
    model_names,
    offer_of,
    provider_names,
    provider_of_recipe,
)
from berlin.config.recipes import resolve_recipe
from berlin.config.resolve import Overrides, Settings, resolve_settings, settings_of
from berlin.config.schema import (
    BUILT_IN,
    Config,
    ProviderConfig,
    ResponsesConfig,
    ServerConfig,
    TokensConfig,
)
from berlin.config.tables.ledger import LedgerConfig
from berlin.config.tokens import open_store, open_tokens

__all__ = [
    "BUILT_IN",
    "ENVIRONMENT_PROVIDER",
    "GUIDE",
    "Config",
    "LedgerConfig",
    "ModelOffer",
    "Names",
    "Overrides",
    "ProviderConfig",
    "ResponsesConfig",
    "ServerConfig",
    "Settings",
    "Target",
    "TokensConfig",
    "config_path",
    "data_path",
    "default_of_file",
    "default_provider",
    "find_model",
    "find_provider",
    "installed_providers",
    "load_config",
    "login_store",
    "model_names",
    "offer_of",
    "open_store",
    "open_tokens",
    "provider_names",
    "provider_of_recipe",
    "resolve_recipe",
    "resolve_settings",
    "settings_of",
]
