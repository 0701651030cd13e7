"""Workers: each has a connection of its own, by which it moves one tenant after the other.

What runs as scripts is one transaction a tenant, under the tenant's advisory lock. What does not, and whatever
somebody else works on, takes the long way: a session of the schema's own, which waits for the lock.
"""

import asyncio
import logging
from contextlib import nullcontext, suppress
from functools import partial
from typing import Final, Literal

import asyncpg

from db.migrations import commands, plan
from db.migrations.lineage import Lineage
from db.migrations.move import driver, move, run_leg
from db.migrations.plan import Direction, Leg
from db.migrations.run import current_revision
from db.migrations.schemas import Schemas, Target
from db.server import installation
from db.server.installation import Installation
from db.session import locks
from db.session.pooler import Plain

log = logging.getLogger(__name__)

_TENANTS_EACH: Final = 500
"""Tenants after which a worker connects anew: PostgreSQL keeps in each session what it knows of every table."""

_CLOSING: Final = 5.0
"""Seconds that PostgreSQL may take to say good-bye; after that the connection is dropped."""


class Way:
    """Where all schemas of a lineage go.

    Args:
        lineage: the lineage.
        direction: up or down.
        destination: the revision to reach; None is before the first.
    """

    def __init__(self, lineage: Lineage, direction: Direction, destination: str | None) -> None:
        self.lineage = lineage
        self.direction: Direction = direction
        self.destination = destination
        self.online = asyncio.Lock()
        """Held while a revision runs online, as all of a process shares one `alembic.op`."""
        self._legs: dict[str | None, tuple[Leg, ...]] = {}

    def legs(self, target: Target, current: str | None) -> tuple[Leg, ...]:
        """Return what a schema, which is locked, has to go through; nothing if it stays.

        Args:
            target: the schema, as the plan knew it.
            current: the schema's revision.

        Raises:
            CommandError: no way leads there, or the schema was moved since it was planned.
        """
        plan.check_planned(self.lineage, self.direction, current, target.revision)
        if current not in self._legs:
            moves = plan.moves(self.lineage, self.direction, current, self.destination)
            found = plan.legs(self.lineage, self.direction, current, self.destination) if moves else ()
            self._legs[current] = tuple(found)
        return self._legs[current]


class Worker:
    """Moves schemas, one after the other. It is to be closed.

    Args:
        schemas: the schemas of the database.
        way: where they go.
        level: how loud each move is logged.
    """

    def __init__(self, schemas: Schemas, way: Way, *, level: int = logging.INFO) -> None:
        self._schemas = schemas
        self._way = way
        self._level = level
        self._session: Plain | None = None
        self._ours: Installation | None = None
        self._served = 0

    async def open(self) -> tuple[Plain, Installation]:
        """Return the worker's connection, made anew if it is lost or has served enough.

        Raises:
            CommandError: PostgreSQL cannot be reached.
            asyncpg.PostgresError: PostgreSQL refuses another connection.
        """
        if self._session is not None and (self._session.is_closed() or self._served >= _TENANTS_EACH):
            await self.close()
        if self._session is None or self._ours is None:
            self._session = await self._schemas.session()
            self._ours = await installation.of(self._session)
            self._served = 0
        self._served += 1
        return self._session, self._ours

    async def close(self) -> None:
        """Close the worker's connection, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it may be lost
                await session.close(timeout=_CLOSING)

    async def move(self, target: Target) -> None:
        """Move a schema to where all go, if it is not there or past it already.

        Args:
            target: the schema.

        Raises:
            CommandError: no way leads there, or somebody else works on the schema for too long.
            TenantryError: a revision cannot be run.
            asyncpg.PostgresError, sqlalchemy.exc.DBAPIError: a statement failed.
        """
        outcome = "long" if target.tenant_id is None else await self._by_scripts(target)
        if outcome == "online":  # before the lock: a tenant is not to be locked while others are at it
            async with self._way.online:
                await self._at_length(target, alone=True)
        elif outcome != "done":
            await self._at_length(target)

    async def _by_scripts(self, target: Target) -> Literal["done", "locked", "online"]:
        """Move a tenant's schema in one transaction, unless it is locked, or a revision is to run online."""
        assert target.tenant_id is not None  # a tenant's
        way = self._way
        session, ours = await self.open()
        async with session.transaction():
            if not await locks.try_tenant(session, target.tenant_id):
                return "locked"
            current = await current_revision(session, target.schema)
            legs = way.legs(target, current)
            if any(leg.online for leg in legs):
                return "online"
            self._log(target, current, moves=bool(legs))
            record = partial(commands.record, way.lineage, target)
            for leg in legs:
                await run_leg(session, way.lineage, target.schema, way.direction, leg, current, ours, record)
        return "done"

    async def _at_length(self, target: Target, *, alone: bool = False) -> None:
        """Wait for a schema's lock, and move the schema, also by revisions that run online.

        Args:
            target: the schema.
            alone: whether the caller sees to it that no other revision runs online meanwhile.
        """
        way = self._way
        async with self._schemas.locked(target) as connection:
            current = await current_revision(await driver(connection), target.schema)
            legs = way.legs(target, current)
            self._log(target, current, moves=bool(legs))
            if not legs:
                return
            record = partial(commands.record, way.lineage, target)
            alone = alone or not any(leg.online for leg in legs)
            async with nullcontext() if alone else way.online:
                await move(
                    connection, way.lineage, target.schema, way.direction, current, way.destination, record
                )

    def _log(self, target: Target, current: str | None, *, moves: bool) -> None:
        at, to = current or "base", self._way.destination or "base"
        if moves:
            log.log(self._level, "%s: %s %s -> %s", target.label, self._way.direction, at, to)
        else:
            log.log(self._level, "%s stays at %s", target.label, at)
