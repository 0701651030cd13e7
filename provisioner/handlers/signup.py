"""The handler of ``tenant.signup``, a sign-up from outside that is answered by an event."""

from typing import ClassVar

import structlog

from db import names
from db.audit import By
from db.errors import TakenError
from db.ledger import envelope, intake, outbox
from db.ledger.contracts import UNKNOWN, Rejected, Signup
from db.ledger.envelope import SIGN_UP, SignupEvent
from db.ledger.inbox import Entry
from db.names import InvalidNameError
from db.session.connection import Connection
from db.tenants.people import Administrator
from db.tenants.signup import Origin, checked, sign_up
from provisioner.handlers.handler import Handler, Job, Outcome

log = structlog.get_logger(__name__)


class SignupHandler(Handler[SignupEvent]):
    """Signs a tenant up or refuses to, and writes the answer in the same transaction."""

    # A message that was unknown when it arrived may turn out to be a sign-up.
    types: ClassVar = (Signup.type, UNKNOWN)
    about_tenant: ClassVar = False

    def read(self, entry: Entry) -> SignupEvent:
        return envelope.signup(entry.body)

    async def work(self, connection: Connection, job: Job[SignupEvent], /) -> Outcome:
        message_id, event = job.entry.id, job.command
        if await intake.answer_again(connection, message_id):
            return "handled"  # a replay: the sign-up was answered before
        if not await intake.settle(connection, message_id, event):
            return "superseded"
        try:
            async with connection.transaction():
                await _accept(connection, job)
        except TakenError as error:
            await _refuse(connection, job, f"{error.what}-taken")
        except InvalidNameError:
            await _refuse(connection, job, "name-refused")
        return "handled"


async def _accept(connection: Connection, job: Job[SignupEvent]) -> None:
    event, data = job.command, job.command.data
    wanted = checked(
        name=data.name,
        slug=data.slug,
        host=data.host,
        administrator=Administrator(email=names.mailbox(data.admin_email)) if data.admin_email else None,
        claim_hash=bytes.fromhex(data.claim_sha256) if data.claim_sha256 else None,
    )
    origin = Origin(job.entry.id, event.source, event.id)
    made = await sign_up(connection, wanted, By("provisioner", str(job.entry.id)), origin=origin)
    await intake.set_tenant(connection, job.entry.id, made.tenant.id)
    log.info("signed up", tenant=made.tenant.slug, source=event.source)


async def _refuse(connection: Connection, job: Job[SignupEvent], reason: str) -> None:
    event = job.command
    rejected = Rejected(reason=reason, source=event.source, source_id=event.id, slug=event.data.slug)
    answer = envelope.message(rejected, subject=event.data.slug, caused_by=job.entry.id, priority=SIGN_UP)
    await outbox.append(connection, [answer])
    log.info("sign-up refused", reason=reason, source=event.source)
