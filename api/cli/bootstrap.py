"""``litestar bootstrap``: prepares an empty PostgreSQL server for Tenantry."""

import secrets

import click

from api.cli import shell
from db import bootstrap as bootstrapping
from db.server.installation import Installation
from db.session import address


@click.command("bootstrap")
@click.option("--rotate", is_flag=True, help="Give both logins fresh passwords.")
@click.option("--no-harden", is_flag=True, help="Leave the hardening out, where the server refuses it.")
@click.option(
    "--operator", default="bootstrap", show_default=True, help="Name of the first operator's token."
)
@shell.json_option
def bootstrap_command(*, rotate: bool, no_harden: bool, operator: str, as_json: bool) -> None:
    """Create logins, extensions, hardening, keepers, the shared lineage and the first operator token.

    Needs SUPERUSER_DATABASE_URL. Passwords are taken from OWNER_DATABASE_URL and DATABASE_URL if they are
    set; otherwise new logins get fresh ones. Fresh passwords and tokens are printed only this once. Safe to
    repeat: existing logins keep their passwords, and a token is minted only if there is none.

    After a dump was restored, also make the tenants' roles and rights again, and the owner own its objects.
    """
    config = shell.configured()
    superuser_url = shell.required(config, "superuser_database_url")
    ours = Installation(config.role_prefix)
    given = {
        ours.owner: _password(config.owner_database_url, ours.owner),
        ours.app: _password(config.database_url, ours.app),
    }

    async def work() -> dict[str, str]:
        address.database(superuser_url)  # an address without one is told before anything else
        made: dict[str, str] = {}
        existing = await _existing(superuser_url, list(given))
        chosen: dict[str, str | None] = {}
        for role, password in given.items():
            fresh = rotate or (password is None and role not in existing)
            chosen[role] = secrets.token_urlsafe(32) if fresh else password
        owner_password = chosen[ours.owner]
        if owner_password is None:
            raise click.UsageError(f"{ours.owner} exists: set OWNER_DATABASE_URL, or --rotate its password")
        if chosen[ours.app] is None:
            raise click.UsageError(f"{ours.app} exists: set DATABASE_URL, or --rotate its password")
        urls = await bootstrapping.bootstrap(
            superuser_url,
            owner_password=owner_password,
            app_password=str(chosen[ours.app]),
            settings=config,
            harden=not no_harden,
        )
        if urls.adopted:
            made["OBJECTS_ADOPTED"] = str(urls.adopted)
        if urls.mended:
            made["TENANTS_MENDED"] = str(urls.mended)
        if chosen[ours.owner] != given[ours.owner]:
            made["OWNER_DATABASE_URL"] = urls.owner_url
        if chosen[ours.app] != given[ours.app]:
            made["DATABASE_URL"] = urls.app_url
        if not await bootstrapping.has_operator(urls.owner_url):
            made["OPERATOR_TOKEN"] = await bootstrapping.mint_operator(urls.owner_url, operator, shell.by())
        return made

    made = shell.run(work())
    lines = [f"{name}={value}" for name, value in made.items()]
    shell.show(made, as_json=as_json, text=lines or "nothing was missing")


def _password(url: str | None, role: str) -> str | None:
    if not url:
        return None
    user, password = address.login(url)
    return password if user == role else None


async def _existing(superuser_url: str, roles: list[str]) -> set[str]:
    connection = await address.connect(address.with_database(superuser_url, "postgres"))
    try:
        rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname = ANY($1::text[])", roles)
        return {row["rolname"] for row in rows}
    finally:
        await connection.close()
