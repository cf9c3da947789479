"""Chooses a provider's credentials from arguments, environment, file and login store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from berlin.auth.credentials import CLIENT_NAMES, USER_NAMES, Credentials
from berlin.auth.secret_sources import SecretSource
from berlin.auth.tokens.login_store import LoginStore, StoredLogin
from berlin.config.paths import data_path
from berlin.errors import ConfigurationError
from berlin.types import is_loopback, split_url


def login_store() -> LoginStore:
    """Return the store used by `berlin login`."""
    return LoginStore(data_path("logins.json"))


class StoredCredentials:
    """The stored login of a provider, looked up only if no other credentials are found."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    @cached_property
    def _login(self) -> tuple[StoredLogin, str] | None:
        return login_store().load_recent(self._provider)

    def url(self) -> str | None:
        """Return the URL that the login was for."""
        return self._login[0].url if self._login else None

    def allows_http(self, url: str) -> bool:
        """Return whether the login allowed plain http; looked up only when needed."""
        if not url.startswith("http://"):
            return False
        if is_loopback(split_url(url, "url", ("http",)).hostname or ""):
            return False
        return self._login is not None and self._login[0].url == url and self._login[0].allow_http

    def credentials(self, url: str) -> Callable[[], Credentials | None]:
        """Return a function that finds the credentials for this URL only."""

        def find() -> Credentials | None:
            if self._login is None or self._login[0].url != url:
                return None
            return self._login[0].credentials(self._login[1])

        return find


def choose_credentials(
    needs: tuple[str, ...],
    sources: Iterable[tuple[str, Mapping[str, str | SecretSource]]],
    stored: Callable[[], Credentials | None],
) -> Credentials | None:
    """Return the credentials a flow needs, as many as were found.

    Related values come from one source: the user's from the first source that has any of them, and
    the client's own (such as the OAuth 2 client id) likewise.

    Raises:
        ConfigurationError: if that source has only some of them.
    """
    if not needs:
        return Credentials(source="nothing needed")
    sources = list(sources)
    values: dict[str, str | SecretSource] = {}
    places: list[str] = []
    for names in (USER_NAMES, CLIENT_NAMES):
        wanted = [name for name in names if name in needs]
        if not wanted and names is USER_NAMES:
            continue
        # A login did not ask for what is not needed, and a keyring is slow.
        place, found = _first_source(names, wanted, sources, stored if wanted else lambda: None)
        values |= found
        places += [place] if found and place not in places else []
    return Credentials.checked(" and ".join(places), **values) if values else None


def _first_source(
    names: tuple[str, ...],
    wanted: list[str],
    sources: Iterable[tuple[str, Mapping[str, str | SecretSource]]],
    stored: Callable[[], Credentials | None],
) -> tuple[str, Mapping[str, str | SecretSource]]:
    for source, given in sources:
        mine = {name: value for name, value in given.items() if name in names}
        if not any(name in mine for name in wanted or names):
            continue
        lacking = [name for name in wanted if name not in mine]
        if not lacking:
            return source, mine
        kept = stored()
        if kept is not None and mine.items() <= kept.values().items():
            return kept.source, kept.values()
        raise ConfigurationError(
            f"{' and '.join(mine)} without {' and '.join(lacking)} in the {source}: give both "
            "in the same place: as arguments, as environment variables, in the configuration "
            "file, or with `berlin login`"
        )
    kept = stored()
    if kept is None:
        return "", {}
    return kept.source, {n: v for n, v in kept.values().items() if n in names}
