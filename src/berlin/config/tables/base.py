"""The base of the configuration's tables: they hide their secrets."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn, Self, TypeAlias

import msgspec

from berlin.language.secrets_scan import names_secret
from berlin.types import mask_url

# The ranges of numbers; TOML also knows inf and nan.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
CountFromZero: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Percent: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=100)]
NotNegative: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reference to a secret instead of the secret itself: exactly one of the five.

    Attributes:
        env: an environment variable, read when the provider is made.
        file: a file, read again for each login; relative to the configuration unless the path is
            absolute.
        at: with `file`: pointer to the secret in the JSON of the file.
        keyring: `service/name` in the system's keyring, read again for each login.
        command: a program with its arguments that prints it, run again for each login.
        caller: the token that each caller of the gateway sends; for `assertion`.
    """

    env: str = ""
    file: str = ""
    at: str = ""
    keyring: str = ""
    command: tuple[str, ...] = ()
    caller: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.env, self.file, self.keyring, self.command, self.caller))) != 1:
            raise ValueError("name exactly one of env, file, keyring, command and caller")
        if self.at and not self.file:
            raise ValueError("at belongs to a file")
        if self.keyring and not all(self.keyring.partition("/")[::2]):
            raise ValueError("keyring is written service/name")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file that hides its secrets: error reports show all values."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a configuration holds secrets and is never pickled; load it again")

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return names and values that are safe to show."""
        values = [(name, getattr(self, name)) for name in self.__struct_fields__]
        return [(name, _shown(name, value)) for name, value in values if value is not None]


def _shown(name: str, value: object) -> str:
    match value:
        case str() if name in _SECRET_KEYS or names_secret(name):
            return "***"
        case str():
            return repr(mask_url(value) if ":" in value else value)
        case dict():
            members = (f"{key!r}: {_shown(str(key), each)}" for key, each in value.items())
            return "{" + ", ".join(members) + "}"
        case _:
            return repr(value)


_SECRET_KEYS = frozenset({"key", "api_key", "private_key", "assertion", "totp_seed"})
