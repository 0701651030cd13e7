"""Sign-ups from outside: each is a row of the ledger, worked like a command and answered by an event."""

from uuid import UUID

import structlog
from asyncpg import Pool

from db import audit, contracts, intake, ledger
from db.connection import Connection
from db.contracts import SIGN_UP, Rejected, SignupEvent
from db.ledger import Entry
from db.names import NameRefused
from db.signup import Administrator, Origin, Taken, sign_up

log = structlog.get_logger(__name__)


class Signups:
    """Takes sign-ups in and carries them out.

    Args:
        pool: the owner's connections.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def admit(self, message_id: UUID | None, body: bytes) -> UUID | None:
        """Return the ledger row that a delivery is for; None where nothing is to be done.

        Raises:
            ContractError: it is no sign-up.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if message_id is not None and await intake.sent_again(connection, message_id):
                return message_id
            return await intake.admit(connection, contracts.signup(body))

    async def work(self, connection: Connection, entry: Entry) -> None:
        """Sign the tenant up, or refuse to, in one transaction with the answer.

        Args:
            connection: the owner's, outside a transaction.
            entry: the ledger's row.

        Raises:
            ContractError: what the row was written from is no sign-up.
        """
        async with connection.transaction():
            if await ledger.lock_open(connection, entry.id) is None:
                return
            if await intake.answer_again(connection, entry.id):  # replayed: it was settled long ago
                await ledger.mark_handled(connection, entry.id)
                return
            event = contracts.signup(await intake.content(connection, entry.id))
            if not await intake.settle(connection, entry.id, event):
                await ledger.mark_handled(connection, entry.id, status="superseded")
                return
            try:
                async with connection.transaction():
                    await _accept(connection, entry.id, event)
            except (NameRefused, Taken) as error:
                reason = f"{error.what}-taken" if isinstance(error, Taken) else "name-refused"
                await _refuse(connection, entry.id, event, reason)
            await ledger.mark_handled(connection, entry.id)


async def _accept(connection: Connection, message_id: UUID, event: SignupEvent) -> None:
    data = event.data
    made = await sign_up(
        connection,
        name=data.name,
        slug=data.slug,
        host=data.host,
        administrator=Administrator(email=data.admin_email.casefold()) if data.admin_email else None,
        claim_hash=bytes.fromhex(data.claim_sha256) if data.claim_sha256 else None,
        origin=Origin(message_id, event.source, event.id),
    )
    await intake.belongs_to(connection, message_id, made.tenant.id)
    await audit.record(
        connection,
        actor="provisioner",
        action="tenant.create",
        tenant_id=made.tenant.id,
        request_id=str(message_id),
        detail={"message_id": str(message_id), "source": event.source},
    )
    log.info("signed up", tenant=made.tenant.slug, source=event.source)


async def _refuse(connection: Connection, message_id: UUID, event: SignupEvent, reason: str) -> None:
    rejected = Rejected(reason=reason, source=event.source, source_id=event.id, slug=event.data.slug)
    answer = contracts.message(rejected, subject=event.data.slug, caused_by=message_id, priority=SIGN_UP)
    await ledger.append(connection, [answer])
    log.info("sign-up refused", reason=reason, source=event.source)
