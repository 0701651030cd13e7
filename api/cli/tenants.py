"""``litestar tenants``: lists, shows and changes tenants, without the API."""

from collections.abc import Awaitable, Callable
from typing import get_args
from uuid import UUID

import click
import msgspec

from api.cli import shell
from db.control import drift, fleet, rollout_acts, rollout_orders, tenants
from db.control.drift import Report
from db.control.fleet import TenantFilter
from db.ledger.timeline import Step
from db.migrations.lineage import Lineage, UnknownRevisionError
from db.migrations.lineages import lineage
from db.migrations.structures import Structures
from db.session.connection import Connection
from db.settings import Settings
from db.tenants import signup
from db.tenants.keys import Key
from db.tenants.registry import Tenant
from db.tenants.states import TenantStatus


class Shown(msgspec.Struct, frozen=True):
    """A tenant with its hosts, keys and timeline."""

    tenant: Tenant
    hosts: list[str]
    keys: list[Key]
    timeline: list[Step]


class Created(msgspec.Struct, frozen=True):
    """A new tenant and its API key, which is shown only this once."""

    id: UUID
    slug: str
    status: TenantStatus
    api_key: str | None


class Asked(msgspec.Struct, frozen=True):
    """The command that was written."""

    revision: str
    count: int
    message_ids: list[UUID]


class Begun(msgspec.Struct, frozen=True):
    """The rollout that has begun, and how many tenants it is for."""

    revision: str | None
    count: int
    rollout_id: UUID


@click.group("tenants")
def tenants_group() -> None:
    """Tenants. Needs OWNER_DATABASE_URL."""


@tenants_group.command("list")
@click.option("--status", type=click.Choice(get_args(TenantStatus)), help="Purged ones only when asked for.")
@click.option("--revision", help="head, a revision or the beginning of one.")
@click.option("--q", help="Text within slug or name, whatever its case.")
@shell.json_option
def list_(*, status: TenantStatus | None, revision: str | None, q: str | None, as_json: bool) -> None:
    """List tenants, sorted by slug."""
    config = shell.configured()
    at = _revision(config, "head") if revision == "head" else revision
    wanted = TenantFilter(status=status, revision=at or None, q=q or None)
    found = shell.act(lambda connection: fleet.list_(connection, wanted))
    lines = [f"{t.slug:30} {t.status:12} {t.revision or '-':12}  {t.name}" for t in found]
    shell.show(found, as_json=as_json, text=lines or "no such tenant")


@tenants_group.command("show")
@click.argument("slug")
@shell.json_option
def show(*, slug: str, as_json: bool) -> None:
    """Show the tenant SLUG with its hosts, keys and timeline."""

    async def work(connection: Connection) -> Shown:
        tenant = await tenants.require(connection, slug)
        belongings = await fleet.get_belongings(connection, tenant)
        return Shown(tenant, belongings.hosts, belongings.keys, belongings.timeline)

    found = shell.act(work)
    shell.show(found, as_json=as_json, text=_described(found))


@tenants_group.command("create")
@click.argument("name")
@click.option("--slug", help="What machines call it; made from the name by default.")
@click.option("--host", help="A host name that shall lead to it.")
@shell.reason_option
@shell.json_option
def create(*, name: str, slug: str | None, host: str | None, reason: str | None, as_json: bool) -> None:
    """Sign the tenant NAME up, and print its API key, only this once. A provisioner builds the schema."""

    async def work(connection: Connection) -> Created:
        wanted = signup.checked(name=name, slug=slug, host=host)
        made = await signup.sign_up(connection, wanted, shell.by(reason))
        tenant = made.tenant
        return Created(tenant.id, tenant.slug, tenant.status, made.key.text if made.key else None)

    made = shell.act(work)
    shell.show(made, as_json=as_json, text=f"{made.slug} is {made.status}; its key: {made.api_key}")


@tenants_group.command("suspend")
@click.argument("slug")
@shell.reason_option
@shell.json_option
def suspend(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Refuse requests of the tenant SLUG until it is resumed."""
    _changed(lambda connection: tenants.suspend(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("resume")
@click.argument("slug")
@shell.reason_option
@shell.json_option
def resume(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Serve the suspended tenant SLUG again."""
    _changed(lambda connection: tenants.resume(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("delete")
@click.argument("slug")
@shell.reason_option
@shell.json_option
def delete(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Delete the tenant SLUG; it can be restored for PURGE_AFTER_DAYS."""
    days = shell.configured().purge_after_days
    _changed(
        lambda connection: tenants.delete(connection, slug, shell.by(reason), days=days), as_json=as_json
    )


@tenants_group.command("restore")
@click.argument("slug")
@shell.reason_option
@shell.json_option
def restore(*, slug: str, reason: str | None, as_json: bool) -> None:
    """Restore the deleted tenant SLUG to its former status."""
    _changed(lambda connection: tenants.restore(connection, slug, shell.by(reason)), as_json=as_json)


@tenants_group.command("migrate")
@click.argument("slug", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every tenant that is behind.")
@click.option("--revision", default="head", show_default=True, help="Where to.")
@shell.reason_option
@shell.json_option
def migrate(*, slug: str | None, everyone: bool, revision: str, reason: str | None, as_json: bool) -> None:
    """Ask a provisioner to migrate the tenant SLUG, or begin a rollout to all tenants."""
    if (slug is None) != everyone:
        raise click.UsageError("name a tenant, or say --all")
    chain = lineage("tenant", shell.configured().alembic_config)
    if slug is None:
        _roll_out(chain, revision, reason, as_json=as_json)
        return

    async def work(connection: Connection) -> Asked:
        command = await tenants.migrate(connection, slug, shell.by(reason), chain, revision=revision)
        return Asked(chain.resolve(revision), 1, [command.id])

    with shell.in_words():
        asked = shell.act(work)
    shell.show(asked, as_json=as_json, text=f"1 tenant asked to migrate to {asked.revision}")


def _roll_out(chain: Lineage, revision: str, reason: str | None, *, as_json: bool) -> None:
    """Begin a rollout with the usual canary and waves."""
    with shell.in_words():
        order = rollout_orders.order(chain, target=revision)
    by = shell.by(reason or "litestar tenants migrate --all")
    started = shell.act(lambda connection: rollout_acts.start(connection, by, order))
    begun = Begun(started.target, started.tenants.due, started.id)
    told = [
        f"{begun.count} {'tenant' if begun.count == 1 else 'tenants'} asked to migrate to {begun.revision}"
    ]
    if begun.count:
        told.append(f"  in waves; how far they are: litestar rollouts watch {begun.rollout_id}")
    shell.show(begun, as_json=as_json, text=told)


@tenants_group.command("verify")
@click.argument("slug", required=False)
@click.option("--all", "everyone", is_flag=True, help="Every tenant that has a schema.")
@shell.json_option
def verify(*, slug: str | None, everyone: bool, as_json: bool) -> None:
    """Compare the schema of the tenant SLUG, or of all, with its revision. Changes nothing.

    The exit code is 1 if a schema differs, or could not be compared.
    """
    if (slug is None) != everyone:
        raise click.UsageError("name a tenant, or say --all")
    config = shell.configured()
    structures = Structures(lineage("tenant", config.alembic_config), builds=True)

    async def work(connection: Connection) -> Report:
        if slug is None:
            return drift.summed(await drift.verify_all(connection, structures))
        tenant = await tenants.require(connection, slug)
        return drift.summed(await drift.verify(connection, [tenant], structures))

    url = shell.required(config, "owner_database_url")
    found = shell.run(shell.connected(url, work))
    shell.show(found, as_json=as_json, text=_compared(found))
    if found.drifted or found.unchecked:
        raise click.exceptions.Exit(1)


def _revision(config: Settings, text: str) -> str:
    try:
        return lineage("tenant", config.alembic_config).resolve(text)
    except UnknownRevisionError as error:
        raise click.UsageError(str(error)) from error


def _changed(act: Callable[[Connection], Awaitable[Tenant]], *, as_json: bool) -> None:
    tenant = shell.act(act)
    until = f", restorable until {tenant.purge_after:%Y-%m-%d %H:%M} UTC" if tenant.purge_after else ""
    shell.show(tenant, as_json=as_json, text=f"{tenant.slug} is {tenant.status}{until}")


def _compared(found: Report) -> list[str]:
    lines = []
    for each in found.drifted:
        lines.append(f"{each.slug}, at {each.revision or 'no revision'}:")
        lines += [f"  {difference}" for difference in each.differences]
    lines += [f"{each.slug} was not compared: {each.reason}" for each in found.unchecked]
    were = "tenant was" if found.checked == 1 else "tenants were"
    return [*lines, f"{found.checked} {were} compared, {len(found.drifted)} with drift"]


def _described(shown: Shown) -> list[str]:
    tenant = shown.tenant
    return [
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
