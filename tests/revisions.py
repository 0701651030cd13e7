"""Revisions: build a lineage for a test, in a folder with a copy of Alembic's environment."""

import textwrap
from pathlib import Path

from db.migrations.lineage import Lineage
from db.settings import PROJECT

_INI = """
[alembic]
script_location = {root}
version_locations = {root}/versions/shared:{root}/versions/tenant
path_separator = os
"""


def lineage_of(folder: Path, *bodies: str) -> Lineage:
    """Write the revisions ``r1``, ``r2``, ... and return the tenant lineage that they make.

    Args:
        folder: the folder to write to.
        bodies: the text of each revision after its header, with an ``upgrade()``; ``op`` and ``sa`` are
            imported.
    """
    versions = folder / "versions" / "tenant"
    versions.mkdir(parents=True)
    (folder / "versions" / "shared").mkdir()
    (folder / "env.py").write_text((PROJECT / "alembic" / "env.py").read_text())
    for number, body in enumerate(bodies, 1):
        header = (
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = 'r{number}'\ndown_revision = {f'r{number - 1}' if number > 1 else None!r}\n"
            f"compatible_from = 'r1'\n\n"
        )
        end = "" if "def downgrade()" in body else "\n\ndef downgrade():\n    pass\n"
        (versions / f"r{number}.py").write_text(header + textwrap.dedent(body) + end)
    ini = folder / "alembic.ini"
    ini.write_text(_INI.format(root=folder))
    return Lineage("tenant", ini)
