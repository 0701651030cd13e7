"""``litestar tokens``: mints, lists, rotates and revokes operators' tokens."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
import msgspec

from api.cli import shell
from db import audit, tokens
from db.connection import Connection
from db.tokens import Token


class TokenOut(msgspec.Struct, frozen=True):
    """An operator's token, without its secret."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@click.group("tokens")
def tokens_group() -> None:
    """Operators' tokens. Needs OWNER_DATABASE_URL."""


def _owner_url() -> str:
    return shell.required(shell.configured(), "owner_database_url")


@tokens_group.command("mint")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it expires; never, by default.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["*", "messages:edit"]),
    help="What it permits beyond an operator's daily work; everything, by default. Repeatable; none: --no-scope.",
)
@click.option("--no-scope", is_flag=True, help="Nothing beyond an operator's daily work.")
@shell.json_option
def mint(*, name: str, days: int | None, scopes: tuple[str, ...], no_scope: bool, as_json: bool) -> None:
    """Mint a token for the operator NAME, and print it this once."""
    permitted = () if no_scope else scopes or ("*",)

    async def work(connection: Connection) -> Token:
        async with connection.transaction():
            return await _mint(connection, name, days, permitted)

    token = shell.run(shell.connected(_owner_url(), work))
    shell.show({"id": token.id, "token": token.text}, as_json=as_json, text=token.text)


@tokens_group.command("list")
@shell.json_option
def list_(*, as_json: bool) -> None:
    """List operators' tokens, revoked ones included."""

    async def work(connection: Connection) -> list[TokenOut]:
        rows = await connection.fetch(
            "SELECT id, name, created_at, expires_at, revoked_at, last_used_at FROM shared.access_tokens"
            " WHERE kind = 'operator' ORDER BY created_at"
        )
        return [TokenOut(**dict(row)) for row in rows]

    found = shell.run(shell.connected(_owner_url(), work))
    text = "\n".join(f"{t.id}  {'revoked' if t.revoked_at else 'live':8} {t.name}" for t in found)
    shell.show(found, as_json=as_json, text=text or "no operator has a token")


@tokens_group.command("rotate")
@click.argument("token_id")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until the new one expires.")
@shell.json_option
def rotate(*, token_id: str, days: int | None, as_json: bool) -> None:
    """Replace the token TOKEN_ID by a fresh one, printed this once; the old one ends at once."""

    async def work(connection: Connection) -> Token | None:
        async with connection.transaction():
            old = await connection.fetchrow(
                "SELECT name, scopes FROM shared.access_tokens WHERE id = $1 AND kind = 'operator'", token_id
            )
            if old is None or not await _revoke(connection, token_id):
                return None
            return await _mint(connection, old["name"], days, old["scopes"])

    token = shell.run(shell.connected(_owner_url(), work))
    if token is None:
        raise shell.Failed(f"no live operator token {token_id}")
    shell.show({"id": token.id, "token": token.text}, as_json=as_json, text=token.text)


@tokens_group.command("revoke")
@click.argument("token_id")
@shell.json_option
def revoke(*, token_id: str, as_json: bool) -> None:
    """End the token TOKEN_ID at once, on every worker."""

    async def work(connection: Connection) -> str | None:
        async with connection.transaction():
            return await _revoke(connection, token_id)

    name = shell.run(shell.connected(_owner_url(), work))
    if name is None:
        raise shell.Failed(f"no live operator token {token_id}")
    shell.show({"id": token_id, "revoked": True}, as_json=as_json, text=f"revoked {token_id} ({name})")


async def _revoke(connection: Connection, token_id: str) -> str | None:
    name = await tokens.revoke(connection, token_id, kind="operator")
    if name is not None:
        await audit.record(
            connection, actor=shell.by().actor, action="operator_token.revoke", detail={"key_id": token_id}
        )
    return name


async def _mint(connection: Connection, name: str, days: int | None, scopes: Sequence[str]) -> Token:
    token = tokens.mint("operator")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    await tokens.store(connection, token, name=name, scopes=scopes, expires_at=expires_at)
    detail = {"key_id": token.id, "name": name, "scopes": list(scopes)}
    await audit.record(connection, actor=shell.by().actor, action="operator_token.create", detail=detail)
    return token
