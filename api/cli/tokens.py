"""``litestar tokens``: mints, lists, rotates and revokes operators' tokens."""

import click
import msgspec

from api.cli import shell
from db.control import tokens
from db.session.connection import Connection
from db.tenants import keys


@click.group("tokens")
def tokens_group() -> None:
    """Operators' tokens. Needs OWNER_DATABASE_URL."""


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
    """Mint a token for the operator NAME, and print it, only this once."""
    permitted = () if no_scope else scopes or ("*",)

    token = shell.act(
        lambda connection: tokens.mint(connection, shell.by(), name=name, days=days, scopes=permitted)
    )
    shell.show({"id": token.id, "token": token.text}, as_json=as_json, text=token.text)


@tokens_group.command("list")
@shell.json_option
def list_(*, as_json: bool) -> None:
    """List operators' tokens, including revoked ones."""

    async def work(connection: Connection) -> list[dict[str, object]]:
        found = [msgspec.structs.asdict(key) for key in await keys.list_operators(connection)]
        return [{name: value for name, value in key.items() if name != "scopes"} for key in found]

    found = shell.act(work)
    lines = [f"{key['id']}  {'revoked' if key['revoked_at'] else 'live':8} {key['name']}" for key in found]
    shell.show(found, as_json=as_json, text=lines or "no operator has a token")


@tokens_group.command("rotate")
@click.argument("token_id")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until the new one expires.")
@shell.json_option
def rotate(*, token_id: str, days: int | None, as_json: bool) -> None:
    """Replace the token TOKEN_ID with a new one, printed only this once; the old one ends at once."""
    token = shell.act(lambda connection: tokens.rotate(connection, shell.by(), token_id, days=days))
    shell.show({"id": token.id, "token": token.text}, as_json=as_json, text=token.text)


@tokens_group.command("revoke")
@click.argument("token_id")
@shell.json_option
def revoke(*, token_id: str, as_json: bool) -> None:
    """End the token TOKEN_ID at once, on every worker."""
    name = shell.act(lambda connection: tokens.revoke(connection, shell.by(), token_id))
    shell.show({"id": token_id, "revoked": True}, as_json=as_json, text=f"revoked {token_id} ({name})")
