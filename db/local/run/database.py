"""Preparation of the database that ``make run`` uses, with its logins."""

import asyncio
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from db.audit import By
from db.bootstrap import bootstrap, migrate_shared, mint_operator
from db.local.run.environment import ExternalDatabase
from db.local.run.home import Secrets
from db.settings import Settings

_OPERATOR = "make run"


class Logins(NamedTuple):
    """The addresses of a prepared database, for each of its logins."""

    app: str
    owner: str
    superuser: str | None


def prepare(
    external: ExternalDatabase | None, superuser_url: str | None, secrets: Secrets, settings: Settings
) -> Logins:
    """Bootstrap the database if there is a superuser's address, or else migrate it as the owner.

    Args:
        external: the addresses in the environment; their passwords are used before those of ``secrets``.
        superuser_url: a superuser's address on the server. Its database is used only if ``external`` is None.
        secrets: passwords for the logins that the environment does not name.
        settings: the settings for the bootstrap and the migration.

    Raises:
        ValueError: there is neither a superuser's nor the owner's address.
    """
    if superuser_url is None:
        if external is None or external.owner is None:
            raise ValueError("neither a superuser's nor the owner's login is known")
        asyncio.run(migrate_shared(external.owner, settings))
        return Logins(external.app, external.owner, None)
    app, owner = (external.app, external.owner) if external else (None, None)
    if app is not None:
        superuser_url = urlunsplit(urlsplit(superuser_url)._replace(path=urlsplit(app).path))
    made = asyncio.run(
        bootstrap(
            superuser_url,
            owner_password=_password(owner) or secrets.owner_password,
            app_password=_password(app) or secrets.app_password,
            settings=settings,
        )
    )
    return Logins(app or made.app_url, owner or made.owner_url, superuser_url)


def operator_token(owner_url: str) -> str:
    """Mint an operator's token for the user of this machine."""
    return asyncio.run(mint_operator(owner_url, _OPERATOR, By(f"shell:{_OPERATOR}")))


def _password(url: str | None) -> str | None:
    password = urlsplit(url).password if url else None
    return unquote(password) if password else None
