"""Config's errors: each is a ConfigError and what ModelScope's Config raises in the same place."""

from __future__ import annotations

from modelscope_ext.errors import ConfigError

__all__ = ["ConfigFileError", "ConfigFileNotFound", "ConfigInvalid", "ConfigKeyError", "ConfigTypeError"]


class ConfigFileError(ConfigError, OSError):
    """A file that Config does not read or write."""


class ConfigFileNotFound(ConfigFileError, FileNotFoundError):
    """No such configuration file."""


class ConfigKeyError(ConfigError, KeyError):
    """A key that is reserved, or an index beyond the end of a list."""


class ConfigTypeError(ConfigError, TypeError):
    """A value whose type does not fit."""


class ConfigInvalid(ConfigError, AssertionError):
    """A configuration.json that `check_config` does not accept."""
