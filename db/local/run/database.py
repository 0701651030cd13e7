"""The database that the supervisor's children get: made ready, with a login for each."""

import asyncio
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from db.bootstrap import bootstrap, migrate_shared, mint_operator
from db.local.run.environment import ExternalDatabase
from db.local.run.home import Secrets
from db.settings import Settings

_OPERATOR = "make run"


class Logins(NamedTuple):
    """Addresses of a database that is ready, by who uses them."""

    app: str
    owner: str
    superuser: str | None


def prepare(
    external: ExternalDatabase | None, superuser_url: str | None, secrets: Secrets, settings: Settings
) -> Logins:
    """Make the database ready: by the bootstrap where a superuser is known, else by the owner's migration.

    Args:
        external: what the environment names; its passwords go before those of ``secrets``.
        superuser_url: a superuser's address on the server, whatever database it names.
        secrets: passwords for the logins that the environment does not name.
        settings: time-outs that the bootstrap puts on the logins.
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
    """Mint a token for the operator of this machine."""
    return asyncio.run(mint_operator(owner_url, _OPERATOR))


def _password(url: str | None) -> str | None:
    password = urlsplit(url).password if url else None
    return unquote(password) if password else None
