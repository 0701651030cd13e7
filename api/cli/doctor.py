"""``litestar doctor``: checks the installation, and says what each finding would allow."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, get_args

import click
import msgspec

from api.cli import shell
from db import names
from db.ledger import pause
from db.migrations.lineage import LineageError, LineageName
from db.migrations.lineages import lineage, not_idempotent
from db.migrations.run import current_revision
from db.server import citus, extensions, hardening, installation, ownership, repair, rights, version
from db.session.connection import EXTENSIONS, Connection
from db.session.pooler import PooledError
from db.settings import Settings


class Finding(msgspec.Struct, frozen=True):
    """A check that failed.

    Args:
        check: what was checked.
        problem: what is wrong.
        allows: what the problem would allow, or keep from working.
    """

    check: str
    problem: str
    allows: str


@click.command("doctor")
@shell.json_option
def doctor_command(*, as_json: bool) -> None:
    """Check both logins, the server, the hardening and the shared revision. Exit code 1 on findings."""
    config = shell.configured()
    shell.required(config, "database_url")
    findings = shell.run(examine(config))
    lines = [line for f in findings for line in (f"{f.check}: {f.problem}", f"    would allow: {f.allows}")]
    shell.show(findings, as_json=as_json, text=lines or "all is well")
    if findings:
        raise SystemExit(1)


async def examine(config: Settings) -> list[Finding]:
    """Return all findings: of the lineages, of the API's login, and of the owner if its address is set."""
    found = _lineages(config)
    found += await _connected("API login", config.require("database_url"), _app)
    if config.owner_database_url:
        found += await _connected("owner", config.require("owner_database_url"), lambda c: _owner(c, config))
    return found


async def _connected(
    login: str, url: str, work: Callable[[Connection], Coroutine[Any, Any, list[Finding]]]
) -> list[Finding]:
    """Return the findings of ``work`` on a connection of a login, or why there can be no more of them."""
    try:
        return await shell.connected(url, work)
    except PooledError as error:
        return [Finding(login, str(error), "nothing; API, provisioner and alembic refuse to work")]


def _lineages(config: Settings) -> list[Finding]:
    found = []
    for name in get_args(LineageName):
        try:
            chain = lineage(name, config.alembic_config)
        except LineageError as error:
            found.append(
                Finding("revisions", str(error), "nothing; API, provisioner and alembic refuse to start")
            )
            continue
        found += [
            Finding(
                "revisions",
                f"{revision} is online, but not idempotent",
                "nothing; if it fails, its command is parked, and somebody has to look what it did",
            )
            for revision in not_idempotent(chain)
        ]
    return found


_ATTRIBUTES = """
SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""

_OWN_RIGHTS = """
SELECT nspname FROM pg_catalog.pg_namespace
WHERE nspname ~ $1 AND has_schema_privilege(current_user, oid, 'USAGE, CREATE') ORDER BY 1
"""

_SETTINGS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


async def _app(connection: Connection) -> list[Finding]:
    found = []
    try:
        await version.check(connection)
    except version.UnsupportedServerError as error:
        found.append(Finding("server version", str(error), "a reused plan runs under another role's rights"))
    try:
        await version.check_encoding(connection)
    except version.UnsupportedServerError as error:
        found.append(Finding("encoding", str(error), "nothing; texts that it lacks are answered 500"))
    row = await connection.fetchrow(_ATTRIBUTES)
    assert row is not None  # the current user is always in pg_roles
    found += [
        Finding("API login", f"has {attribute.removeprefix('rol')}", "more than the API ever needs")
        for attribute in ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication")
        if row[attribute]
    ]
    if row["rolinherit"]:
        found.append(Finding("API login", "inherits", "reads every tenant without a tenant transaction"))
    if await connection.fetchval("SHOW search_path") != EXTENSIONS:
        found.append(
            Finding("API login", f"search_path is not {EXTENSIONS}", "an unqualified name finds something")
        )
    found += [
        Finding("extensions", flaw.problem, flaw.allows)
        for flaw in await extensions.check(connection, extensions.WANTED)
    ]
    found += [
        Finding("API login", f"{setting} is off", "one request holds a connection for ever")
        for setting in _SETTINGS
        if await connection.fetchval(f"SHOW {setting}") == "0"
    ]
    owned = await connection.fetchval(
        "SELECT count(*) FROM pg_catalog.pg_class WHERE relowner = current_user::regrole"
    )
    if owned:
        found.append(Finding("API login", f"owns {owned} relations", "changes their definition"))
    compared = await rights.differences(connection)
    found += [
        Finding("rights in shared", f"has {right}", "more than the API ever needs")
        for right in compared.surplus
    ]
    found += [
        Finding("rights in shared", f"lacks {right}", "nothing; requests that need it fail")
        for right in compared.missing
    ]
    found += [
        Finding(
            "API login", f"has rights of its own in {row['nspname']}", "reads the tenant as nobody's role"
        )
        for row in await connection.fetch(_OWN_RIGHTS, names.SCHEMA.pattern)
    ]
    found += [
        Finding(item.name, f"PUBLIC has {item.detail}", item.allows)
        for item in await hardening.missing(connection)
    ]
    return found + await _tenants(connection)


_READS_TENANTS = """
SELECT has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, 'slug', 'SELECT')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'shared' AND c.relname = 'tenants'
"""


async def _tenants(connection: Connection) -> list[Finding]:
    """Return what tenants lack, a finding for each kind, and what is not the owner's."""
    if not await connection.fetchval(_READS_TENANTS):
        return []  # findings of their own: the rights in shared, or its revision
    kinds: dict[str, list[str]] = {}
    for lack in await repair.lacking(connection):
        kinds.setdefault(lack.problem, []).append(lack.slug)
    found = [
        Finding(
            "tenants",
            f"{len(slugs)} with {problem} ({repair.named(slugs)}): run `litestar bootstrap`",
            "nothing; their requests are answered 503",
        )
        for problem, slugs in kinds.items()
    ]
    homeless = await repair.homeless(connection)
    if homeless:
        problem = f"{len(homeless)} without a schema ({repair.named(homeless)}): restore it from a dump"
        found.append(Finding("tenants", problem, "nothing; their requests are answered 503"))
    found += [
        Finding(
            "tenants",
            f"{name} reaches {len(slugs)} ({repair.named(slugs)}), and is not of this installation",
            "whoever has that role reads and changes their rows",
        )
        for name, slugs in (await repair.reaching(connection)).items()
    ]
    ours = await installation.of(connection)
    if ours.citus:
        flaws = await citus.check(connection, ours)
        found += [Finding("Citus", flaw.problem, flaw.allows) for flaw in flaws]
    foreign = await ownership.foreign(connection, ours.owner)
    if foreign:
        problem = f"{len(foreign)} objects are not {ours.owner}'s ({repair.named(foreign)})"
        found.append(
            Finding(
                "ownership",
                f"{problem}: run `litestar bootstrap`",
                "others change them, and migrations fail",
            )
        )
    return found


async def _owner(connection: Connection, config: Settings) -> list[Finding]:
    found = []
    row = await connection.fetchrow(_ATTRIBUTES)
    assert row is not None  # the current user is always in pg_roles
    if row["rolsuper"]:
        found.append(Finding("owner", "is a superuser", "a tenant's function runs with all rights"))
    if not row["rolcreaterole"]:
        found.append(Finding("owner", "lacks CREATEROLE", "no keeper can be added once all are full"))
    revision = await current_revision(connection, "shared")
    with suppress(LineageError):  # it is a finding of its own
        head = lineage("shared", config.alembic_config).head
        if revision != head:
            found.append(
                Finding("shared revision", f"at {revision}, not {head}", "the API is not ready (503)")
            )
    if await connection.fetchval(
        "SELECT to_regclass('shared.switches') IS NOT NULL"
    ) and await pause.is_paused(connection):
        found.append(Finding("provisioners", "are paused", "nothing; commands wait until somebody resumes"))
    limit = await connection.fetchval("SELECT current_setting('max_connections')::int")
    if limit < config.connections:
        found.append(
            Finding(
                "connections",
                f"max_connections is {limit}",
                "one API worker and one provisioner cannot have all of their connections",
            )
        )
    return found
