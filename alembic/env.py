"""Alembic's environment: ``alembic [-x tenant=SLUG|all|shared|public] [-x dry_run=True] [-x yes=True] COMMAND``.

Without ``-x tenant`` an upgrade takes the shared lineage and then every tenant, several at a time with
``-x jobs=4``. A downgrade takes every tenant, prints its plan, and asks, or wants ``-x yes=True``. ``revision``
writes for the tenant lineage. See ``db/migrations/environment.py``.
"""

from logging.config import fileConfig

from alembic import context

from db import settings
from db.migrations import environment

if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

environment.main(context._proxy, context.get_x_argument(), settings.load)  # noqa: SLF001
