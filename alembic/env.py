"""Alembic's environment: ``alembic [-x tenant=SLUG|shared|public] [-x dry_run=True] COMMAND``.

Without ``-x tenant`` an upgrade takes the shared lineage and then every tenant, a downgrade every
tenant, and ``revision`` writes for the tenant lineage. See ``db/migrations/environment.py``.
"""

import asyncio
from logging.config import fileConfig

from alembic import context

from db import settings
from db.migrations import environment

if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

asyncio.run(
    environment.run(context._proxy, context.get_x_argument(as_dictionary=True), settings.load)  # noqa: SLF001
)
