"""``litestar messages pause`` and ``resume``: pauses and resumes all provisioners at once."""

import click

from api.cli import shell
from db.control import provisioner
from db.ledger.pause import Pause


@click.command("pause")
@shell.needed_reason_option
@shell.json_option
def pause_command(*, reason: str, as_json: bool) -> None:
    """Pause the provisioners: new commands wait, those in hand are finished, events go on."""
    now = shell.act(lambda connection: provisioner.pause(connection, shell.by(reason)))
    _show(now, as_json=as_json)


@click.command("resume")
@shell.needed_reason_option
@shell.json_option
def resume_command(*, reason: str, as_json: bool) -> None:
    """Resume the provisioners."""
    now = shell.act(lambda connection: provisioner.resume(connection, shell.by(reason)))
    _show(now, as_json=as_json)


def _show(now: Pause, *, as_json: bool) -> None:
    text = "paused" if now.paused else "resumed"
    shell.show({"paused": now.paused, "reason": now.reason}, as_json=as_json, text=text)
