"""Structures of revisions: what a schema at each revision has in it, built once by the owner and stored in ``shared``.

A structure is built in a scratch schema, which is rolled back. It is stored under a digest of all that it comes
from: the revision's script, the queries that read the catalog, and PostgreSQL's major version. So releases side by
side each find their own, and nothing has to be changed or deleted when one of these changes.
"""

import hashlib
import logging
from functools import partial
from typing import Final

import asyncpg
import msgspec

from db.errors import TenantryError
from db.migrations.fingerprint import STRUCTURES, Object, Structure, hashed, structures
from db.migrations.lineage import Lineage
from db.migrations.render import render
from db.migrations.run import run_script
from db.names import new_schema_name
from db.server import contention, roles
from db.session.connection import Connection

log = logging.getLogger(__name__)

_TIMEOUT: Final = 30_000
"""Milliseconds that a statement may take in an empty schema."""
_OBJECTS: Final = msgspec.json.Decoder(list[Object])


class Structures:
    """The structures of a lineage's revisions, each read or built once.

    Args:
        lineage: the tenants' lineage.
        builds: whether to build those that are not stored, which the owner alone can. Nothing is stored.
    """

    def __init__(self, lineage: Lineage, *, builds: bool) -> None:
        self._lineage = lineage
        self._builds = builds
        self._known: dict[str, Structure] = {}

    def knows(self, revision: str) -> bool:
        """Return whether this release has the revision."""
        return self._lineage.knows(revision)

    async def get(self, connection: Connection, revision: str) -> Structure | None:
        """Return the structure of a revision, or None if it is not stored.

        Args:
            connection: of a login that may read ``shared``; of the owner, not in a transaction, to build.
            revision: a revision of the lineage.
        """
        if revision not in self._known:
            stored = await connection.fetchval(
                "SELECT objects::text FROM shared.structures WHERE digest = $1",
                _digest(connection, self._lineage, revision),
            )
            if stored is not None:
                self._known[revision] = frozenset(_OBJECTS.decode(stored))
            elif self._builds:
                self._known[revision] = await build(connection, self._lineage, revision)
            else:
                return None
        return self._known[revision]

    async def revisions_of(self, connection: Connection, found: Structure) -> list[str]:
        """Return the revisions of the lineage that are known to have a structure, oldest first."""
        rows = await connection.fetch(
            "SELECT DISTINCT revision FROM shared.structures WHERE fingerprint = $1", hashed(found)
        )
        known = {row["revision"] for row in rows if self.knows(row["revision"])}
        known |= {revision for revision, objects in self._known.items() if objects == found}
        return sorted(known, key=self._lineage.position)


async def build(connection: Connection, lineage: Lineage, revision: str) -> Structure:
    """Build a scratch schema at a revision, and return its structure. The schema and its role are rolled back.

    Args:
        connection: of the owner, not in a transaction.
        lineage: the tenants' lineage.
        revision: the revision.

    Raises:
        asyncpg.PostgresError: a statement failed.
        TenantryError: the script did not end where it should.
    """
    return await contention.retried(partial(_build, connection, lineage, revision))


async def _build(connection: Connection, lineage: Lineage, revision: str) -> Structure:
    scratch = new_schema_name()
    await roles.prepare_schema(connection, scratch)  # what it commits on Citus is dropped by upkeep
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(f"SET LOCAL statement_timeout = {_TIMEOUT}")
        await roles.create_schema(connection, scratch)
        await run_script(connection, scratch, render(lineage, None, revision))
        return (await structures(connection, [scratch]))[scratch]
    finally:
        await transaction.rollback()


async def store(connection: Connection, lineage: Lineage) -> int:
    """Store the structures of a lineage's revisions that are not stored yet, and return how many these were.

    A revision that cannot be built is left out: it fails as well where a tenant goes to it, and is told there.

    Args:
        connection: of the owner, not in a transaction.
        lineage: the tenants' lineage.
    """
    if await connection.fetchval("SELECT to_regclass('shared.structures')") is None:
        return 0  # `shared` is at a revision before this table, which a release of another time keeps
    wanted = {_digest(connection, lineage, script.revision): script.revision for script in lineage.revisions}
    rows = await connection.fetch(
        "SELECT digest FROM shared.structures WHERE digest = ANY ($1::bytea[])", list(wanted)
    )
    missing = wanted.keys() - {row["digest"] for row in rows}
    for digest, revision in wanted.items():
        if digest in missing:
            try:
                objects = await build(connection, lineage, revision)
            except (asyncpg.PostgresError, TenantryError) as error:
                log.warning("the structure of revision %s cannot be built: %s", revision, error)
                continue
            await connection.execute(
                """
                INSERT INTO shared.structures (digest, revision, fingerprint, objects)
                VALUES ($1, $2, $3, $4::text::jsonb) ON CONFLICT (digest) DO NOTHING
                """,
                digest,
                revision,
                hashed(objects),
                msgspec.json.encode(sorted(objects)).decode(),
            )
    return len(missing)


def _digest(connection: Connection, lineage: Lineage, revision: str) -> bytes:
    """Return a digest of all that a revision's structure comes from."""
    major = connection.get_server_version().major
    sources = (str(major), STRUCTURES, render(lineage, None, revision).sql)
    return hashlib.sha256("\0".join(sources).encode()).digest()
