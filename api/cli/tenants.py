"""``litestar tenants``: the fleet, one tenant, and what operators do to it, without the API."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, get_args
from uuid import UUID

import click
import msgspec

from api.cli import shell
from db import audit, fleet, lifecycle, registry
from db.connection import Connection
from db.fleet import Filter, KeyInfo
from db.lifecycle import UnknownTenant, WrongState
from db.migrations import request as migrations
from db.migrations.lineage import UnknownRevision, lineage
from db.names import NameRefused
from db.registry import Status, Tenant
from db.settings import Settings
from db.signup import Taken, sign_up
from db.timeline import Step

T = TypeVar("T")

reason_option = click.option("--reason", help="Why; it is kept in the audit log.")


class Shown(msgspec.Struct, frozen=True):
    """A tenant with all that belongs to it."""

    tenant: Tenant
    hosts: list[str]
    keys: list[KeyInfo]
    timeline: list[Step]


class Created(msgspec.Struct, frozen=True):
    """A new tenant, and its key, which is shown this once."""

    id: UUID
    slug: str
    status: Status
    api_key: str | None


class Asked(msgspec.Struct, frozen=True):
    """Commands that were written, one a tenant."""

    revision: str
    count: int
    message_ids: list[UUID]


@click.group("tenants")
def tenants_group() -> None:
    """Tenants. Needs OWNER_DATABASE_URL."""


@tenants_group.command("list")
@click.option("--status", type=click.Choice(get_args(Status)), help="Purged ones only when asked for.")
@click.option("--revision", help="head, a revision or the beginning of one.")
@click.option("--q", help="Text within slug or name, whatever its case.")
@shell.json_option
def list_(*, status: Status | None, revision: str | None, q: str | None, as_json: bool) -> None:
    """List tenants, in the order of their slugs."""
    config = shell.configured()
    wanted = _revision(config, "head") if revision == "head" else revision
    meant = Filter(status=status, revision=wanted or None, q=q or None)
    found = _acted(config, lambda connection: fleet.tenants(connection, meant))
    lines = [f"{t.slug:30} {t.status:12} {t.revision or '-':12}  {t.name}" for t in found]
    shell.show(found, as_json=as_json, text="\n".join(lines) or "no such tenant")


@tenants_group.command("show")
@click.argument("slug")
@shell.json_option
def show(*, slug: str, as_json: bool) -> None:
    """Show the tenant SLUG with hosts, keys and timeline."""

    async def work(connection: Connection) -> Shown:
        tenant = await registry.find(connection, slug)
        if tenant is None:
            raise UnknownTenant(slug)
        belongings = await fleet.belongings(connection, tenant.id)
        return Shown(tenant, belongings.hosts, belongings.keys, belongings.timeline)

    found = _acted(shell.configured(), work)
    shell.show(found, as_json=as_json, text=_described(found))


@tenants_group.command("create")
@click.argument("name")
@click.option("--slug", help="What machines call it; made from the name by default.")
@click.option("--host", help="A host name that shall lead to it.")
@reason_option
@shell.json_option
def create(*, name: str, slug: str | None, host: str | None, reason: str | None, as_json: bool) -> None:
    """Sign the tenant NAME up, and print its key this once. A provisioner builds its schema."""
    if not 1 <= len(name) <= 200:
        raise click.UsageError("a name has 1 to 200 characters")

    async def work(connection: Connection) -> Created:
        made = await sign_up(connection, name=name, slug=slug, host=host)
        by = shell.by(reason)
        await audit.record(
            connection,
            actor=by.actor,
            action="tenant.create",
            tenant_id=made.tenant.id,
            detail={"reason": reason} if reason else None,
        )
        tenant = made.tenant
        return Created(tenant.id, tenant.slug, tenant.status, made.key.text if made.key else None)

    made = _acted(shell.configured(), work)
    shell.show(made, as_json=as_json, text=f"{made.slug} is {made.status}; its key: {made.api_key}")


@tenants_group.command("suspend")
@click.argument("slug")
@reason_option
@shell.json_option
def suspend(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Refuse the requests of the tenant SLUG until it is resumed."""
    _changed(lambda connection: lifecycle.suspend(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("resume")
@click.argument("slug")
@reason_option
@shell.json_option
def resume(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Serve the suspended tenant SLUG again."""
    _changed(lambda connection: lifecycle.resume(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("delete")
@click.argument("slug")
@reason_option
@shell.json_option
def delete(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Delete the tenant SLUG; it can be restored for PURGE_AFTER_DAYS."""
    days = shell.configured().purge_after_days
    _changed(
        lambda connection: lifecycle.delete(connection, slug, shell.by(reason), days=days), as_json=as_json
    )


@tenants_group.command("restore")
@click.argument("slug")
@reason_option
@shell.json_option
def restore(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Make the deleted tenant SLUG what it was."""
    _changed(lambda connection: lifecycle.restore(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("migrate")
@click.argument("slug", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every tenant that is behind.")
@click.option("--revision", default="head", show_default=True, help="Where to.")
@reason_option
@shell.json_option
def migrate(*, slug: str | None, everyone: bool, revision: str, reason: str | None, as_json: bool) -> None:
    """Ask for the migration of the tenant SLUG, or of all; a provisioner does it."""
    if (slug is None) != everyone:
        raise click.UsageError("name a tenant, or say --all")
    config = shell.configured()
    target = _revision(config, revision)
    chain = lineage("tenant", config.alembic_config)

    async def work(connection: Connection) -> Asked:
        if slug is None:
            commands = await migrations.migrate_all(connection, shell.by(reason), chain, revision=target)
        else:
            commands = [await migrations.migrate(connection, slug, shell.by(reason), chain, revision=target)]
        return Asked(target, len(commands), [command.id for command in commands])

    asked = _acted(config, work)
    text = f"{asked.count} {'tenant' if asked.count == 1 else 'tenants'} asked to migrate to {target}"
    shell.show(asked, as_json=as_json, text=text)


def _revision(config: Settings, text: str) -> str:
    try:
        return lineage("tenant", config.alembic_config).resolve(text)
    except UnknownRevision as error:
        raise click.UsageError(str(error)) from error


def _changed(act: Callable[[Connection], Awaitable[Tenant]], *, as_json: bool) -> None:
    tenant = _acted(shell.configured(), act)
    until = f", restorable until {tenant.purge_after:%Y-%m-%d %H:%M} UTC" if tenant.purge_after else ""
    shell.show(tenant, as_json=as_json, text=f"{tenant.slug} is {tenant.status}{until}")


def _acted(config: Settings, act: Callable[[Connection], Awaitable[T]]) -> T:
    """Run an act in a transaction, its refusals as messages.

    Raises:
        click.UsageError: a name cannot be used (exit code 2).
        Failed: there is no such tenant, or its state does not allow it (exit code 1).
    """
    url = shell.required(config, "owner_database_url")

    async def work(connection: Connection) -> T:
        async with connection.transaction():
            return await act(connection)

    try:
        return shell.run(shell.connected(url, work))
    except NameRefused as error:
        raise click.UsageError(str(error)) from error
    except (UnknownTenant, WrongState, Taken) as error:
        raise shell.Failed(str(error)) from error


def _described(shown: Shown) -> str:
    tenant = shown.tenant
    lines = [
        f"{tenant.slug}: {tenant.name}",
        f"  id        {tenant.id}",
        f"  status    {tenant.status}",
        f"  revision  {tenant.revision or '-'}",
        f"  schema    {tenant.schema_name}",
        f"  hosts     {', '.join(shown.hosts) or '-'}",
        "  keys",
        *(f"    {key.id}  {'revoked' if key.revoked_at else 'live':8} {key.name}" for key in shown.keys),
        "  timeline",
        *(f"    {step.at:%Y-%m-%d %H:%M:%S}  {step.type:28} {step.status}" for step in shown.timeline),
    ]
    return "\n".join(lines)
