"""Commands as an operator types them, in processes of their own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec

from db.settings import PROJECT, Settings

BIN = Path(sys.executable).parent


class Finished(msgspec.Struct, frozen=True):
    """A command that has ended."""

    code: int
    out: str
    err: str


def environment(config: Settings) -> dict[str, str]:
    """Return a shell's environment with the settings' addresses."""
    given = {
        "DATABASE_URL": config.database_url,
        "OWNER_DATABASE_URL": config.owner_database_url,
        "SUPERUSER_DATABASE_URL": config.superuser_database_url,
        "AMQP_URL": config.amqp_url,
        "SIGNUP": config.signup,
    }
    return {**os.environ, **{name: value for name, value in given.items() if value}}


async def typed(config: Settings, *command: str, within: float = 60) -> Finished:
    """Run a command of the project's and return how it ended."""

    def run() -> Finished:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=PROJECT,
            env=environment(config),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def alembic(config: Settings, *arguments: str) -> Finished:
    """Run ``alembic``, which must succeed."""
    done = await typed(config, "alembic", *arguments)
    assert done.code == 0, done.err
    return done
