"""Sign-ups from outside: a CloudEvent on ``tenantry.signup``, answered by an event."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg
import msgspec
import pytest

from db.settings import Settings
from provisioner import topology
from tests.flows import event, flow
from tests.support import eventually, one, problem, provisioning, serving

pytestmark = pytest.mark.rabbitmq
WHY = {"reason": "tried again"}


async def active(owner: asyncpg.Connection, slug: str) -> None:
    async def probe() -> bool:
        return bool(
            await owner.fetchval("SELECT status = 'active' FROM shared.tenants WHERE slug = $1", slug)
        )

    await eventually(probe, what=f"{slug} active")


async def parked(owner: asyncpg.Connection) -> asyncpg.Record:
    """Wait for the only parked message."""

    async def probe() -> asyncpg.Record | None:
        return await owner.fetchrow("SELECT * FROM shared.messages WHERE status = 'parked'")

    found = await eventually(probe, what="a parked message")
    assert found is not None
    return found


async def test_a_signup_from_outside_is_accepted_and_becomes_an_active_tenant(
    rabbit_config: Settings, owner: asyncpg.Connection
) -> None:
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        asked = await shop.asks(name="Joe's Bakery", host="joe.example.com", admin_email="Joe@example.com")
        answer = await shop.hears()
        await active(owner, "joe-s-bakery")
    assert answer["type"] == "tenant.requested"
    assert answer["data"]["slug"] == answer["subject"] == "joe-s-bakery"
    assert (answer["data"]["source"], answer["data"]["source_id"]) == ("shop.example", asked)
    signup = await one(owner, "SELECT * FROM shared.messages WHERE type = 'tenant.signup'")
    assert answer["causationid"] == str(signup["id"])
    assert (signup["status"], signup["source_id"], signup["attempts"]) == ("handled", asked, 1)
    tenant = await one(owner, "SELECT * FROM shared.tenants")
    assert signup["tenant_id"] == tenant["id"]
    admin = await one(owner, f"SELECT email, password_hash FROM {tenant['schema_name']}.users")
    assert tuple(admin) == ("joe@example.com", None)
    assert await owner.fetchval("SELECT count(*) FROM shared.access_tokens") == 0


async def test_the_flow_that_sent_a_secrets_hash_claims_the_first_key_with_it(
    rabbit_config: Settings, owner: asyncpg.Connection
) -> None:
    secret = "a secret of the flow's own, long enough"
    async with serving(rabbit_config) as api, flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.asks(
            name="Bakery", slug="bakery", claim_sha256=hashlib.sha256(secret.encode()).hexdigest()
        )
        await shop.hears()
        await active(owner, "bakery")
        claimed = await api.post("/tenants/bakery/claim", json={"claim": secret})
        assert claimed.status_code in {200, 201}, claimed.text
        again = await api.post("/tenants/bakery/claim", json={"claim": secret})
        assert again.status_code == 403
        headers = {"tenant": "bakery", "authorization": f"Bearer {claimed.json()['api_key']}"}
        assert (await api.get("/users", headers=headers)).status_code == 200


async def test_a_repeat_makes_nothing_and_is_answered_as_the_first_was(
    rabbit_config: Settings, owner: asyncpg.Connection
) -> None:
    body = event("order-1", name="Bakery", slug="bakery")
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(body)
        first = await shop.hears()
        await active(owner, "bakery")
        await shop.sends(body)
        assert await shop.hears() == first
        # Another source's event of the same id is another event: it is refused, since the slug is taken.
        await shop.sends(event("order-1", "other.example", name="Bakery", slug="bakery"))
        assert (await shop.hears())["type"] == "tenant.rejected"
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1


async def test_ten_copies_at_once_are_one_tenant(rabbit_config: Settings, owner: asyncpg.Connection) -> None:
    body = event("order-1", name="Bakery", slug="bakery")
    async with flow(rabbit_config) as shop:
        await asyncio.gather(*(shop.sends(body) for _ in range(10)))
        async with provisioning(rabbit_config), provisioning(rabbit_config):
            answers = [await shop.hears()]
            await active(owner, "bakery")
    assert answers[0]["type"] == "tenant.requested"
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE type = 'tenant.signup'") == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"slug": "taken"}, "slug-taken"),
        ({"host": "taken.example.com"}, "host-taken"),
        ({"admin_email": "taken@example.com"}, "email-taken"),
        ({"slug": "pg_catalog"}, "name-refused"),
    ],
)
async def test_a_refusal_is_answered_and_leaves_nothing(
    rabbit_config: Settings, owner: asyncpg.Connection, data: dict[str, str], reason: str
) -> None:
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.asks(name="T", slug="taken", host="taken.example.com", admin_email="taken@example.com")
        assert (await shop.hears())["type"] == "tenant.requested"
        asked = await shop.asks(name="Bakery", **data)
        answer = await shop.hears()
    assert answer["type"] == "tenant.rejected"
    assert answer["data"]["reason"] == reason
    assert (answer["data"]["source"], answer["data"]["source_id"]) == ("shop.example", asked)
    assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 1
    assert await owner.fetchval("SELECT count(*) FROM shared.shared_users") == 1


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\x00 not json",
        b"{}",
        event("1", slug="nameless"),
        event("1", name="Bakery", plan="gold"),
        event("1", name="Bak\x00ery"),
        event("", name="Bakery"),
        event("1", name="Bakery", claim_sha256="short"),
        event("1", name="Bakery").replace(b"tenant.signup", b"tenant.provision"),
    ],
)
async def test_what_is_no_signup_is_parked_once_with_its_body(
    rabbit_config: Settings, owner: asyncpg.Connection, body: bytes
) -> None:
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(body)
        await shop.sends(body)
        row = await parked(owner)
        await shop.asks(name="Bakery", slug="after")  # the queue goes on
        await active(owner, "after")
    assert (row["type"], row["error_class"], row["raw_body"]) == ("unknown", "ContractError", body)
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE type = 'unknown'") == 1


async def test_an_unknown_message_that_is_replayed_goes_through_the_intake_again(
    rabbit_config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    nonsense = event("1", slug="nameless")
    misplaced = event("2", name="Bakery", slug="bakery")
    async with serving(rabbit_config) as api, flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(nonsense)
        row = await parked(owner)
        await api.post(f"/cc/messages/{row['id']}/replay", headers=as_operator, json=WHY)

        async def parked_again() -> bool:
            now = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", row["id"])
            return (now["status"], now["replays"], now["attempts"]) == ("parked", 1, 1)

        await eventually(parked_again, what="the nonsense parked again")
        # A sign-up that was sent to the wrong exchange is one all the same.
        await _misplace(rabbit_config, misplaced)

        async def found() -> Any:
            return await owner.fetchval(
                "SELECT id FROM shared.messages WHERE raw_body = $1 AND status = 'parked'", misplaced
            )

        misplaced_id = await eventually(found, what="the misplaced sign-up")
        answer = await api.post(f"/cc/messages/{misplaced_id}/replay", headers=as_operator, json=WHY)
        assert answer.status_code == 200, answer.text
        assert (await shop.hears())["data"]["source_id"] == "2"
        await active(owner, "bakery")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", misplaced_id)
    assert (row["type"], row["status"], row["source_id"]) == ("tenant.signup", "handled", "2")


async def _misplace(config: Settings, body: bytes) -> None:
    assert config.amqp_url is not None
    async with await aio_pika.connect(config.amqp_url) as connection:
        exchange = await (await connection.channel()).get_exchange(topology.COMMANDS)
        await exchange.publish(aio_pika.Message(body), topology.COMMANDS_KEY)


async def test_an_unknown_message_can_be_edited_into_a_signup(
    rabbit_config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    async with serving(rabbit_config) as api, flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(event("1", nom="Bakery"))
        row = await parked(owner)
        edit = {"payload": {"name": "Bakery", "slug": "bakery"}, **WHY}
        answer = await api.post(f"/cc/messages/{row['id']}/edit", headers=as_operator, json=edit)
        assert answer.status_code == 200, answer.text
        assert answer.json()["caused_by"] == str(row["id"])
        await active(owner, "bakery")
    old = await one(owner, "SELECT status FROM shared.messages WHERE id = $1", row["id"])
    assert old["status"] == "archived"


async def test_an_edited_signup_is_answered_to_the_flow_that_sent_it(
    rabbit_config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    """Whether it was no sign-up at first, or one that failed; and the flow's repeats are known by it."""
    async with serving(rabbit_config) as api, flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.sends(event("1", nom="Bakery"))
        row = await parked(owner)
        mended = msgspec.json.decode(row["raw_body"])
        mended["data"] = {"name": "Bakery", "slug": "bakery"}
        edit = {"payload": mended, **WHY}
        answer = await api.post(f"/cc/messages/{row['id']}/edit", headers=as_operator, json=edit)
        assert answer.status_code == 200, answer.text
        told = await shop.hears()
        assert (told["type"], told["data"]["slug"]) == ("tenant.requested", "bakery")
        assert (told["data"]["source"], told["data"]["source_id"]) == (mended["source"], "1")
        await active(owner, "bakery")
        # Parked as a sign-up: nothing of it is broken but what an operator changes.
        await owner.execute(
            "UPDATE shared.messages SET status = 'parked' WHERE id = $1", UUID(answer.json()["id"])
        )
        again = await api.post(
            f"/cc/messages/{answer.json()['id']}/edit",
            headers=as_operator,
            json={"payload": {"name": "Florist", "slug": "florist"}, **WHY},
        )
        assert again.status_code == 200, again.text
        told = await shop.hears()
        assert (told["data"]["source_id"], told["data"]["slug"]) == ("1", "florist")
        # What was edited is no longer what is to be edited,
        for old in (row["id"], answer.json()["id"]):
            once_more = await api.post(f"/cc/messages/{old}/edit", headers=as_operator, json=edit)
            problem(once_more, 409, "state-conflict")
        # and nobody else can become the same sign-up.
        await shop.sends(event("2", nom="Cafe"))
        other = await parked(owner)
        refused = await api.post(f"/cc/messages/{other['id']}/edit", headers=as_operator, json=edit)
        problem(refused, 400, "validation")


async def test_a_signup_waits_while_the_provisioners_are_paused(
    rabbit_config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str]
) -> None:
    async with serving(rabbit_config) as api, flow(rabbit_config) as shop, provisioning(rabbit_config):
        await api.post("/cc/provisioner/pause", headers=as_operator, json=WHY)
        await shop.asks(name="Bakery", slug="bakery")

        async def waits() -> bool:
            row = await owner.fetchrow(
                "SELECT status, attempts FROM shared.messages WHERE type = 'tenant.signup'"
            )
            return row is not None and tuple(row) == ("pending", 0)

        await eventually(waits, what="the sign-up in the ledger")
        assert await owner.fetchval("SELECT count(*) FROM shared.tenants") == 0
        await api.post("/cc/provisioner/resume", headers=as_operator, json=WHY)
        await active(owner, "bakery")


async def test_a_signup_that_met_a_lock_is_tried_again(
    rabbit_config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await superuser.execute(
        "CREATE FUNCTION public.once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('public.tries') < 3 THEN RAISE lock_not_available; END IF; RETURN NEW; END $$;"
        "CREATE SEQUENCE public.tries; GRANT USAGE ON SEQUENCE public.tries TO tenantry_owner;"
        "GRANT USAGE ON SCHEMA public TO tenantry_owner;"
        "CREATE TRIGGER once BEFORE INSERT ON shared.tenants FOR EACH ROW EXECUTE FUNCTION public.once()"
    )
    async with flow(rabbit_config) as shop, provisioning(rabbit_config):
        await shop.asks(name="Bakery", slug="bakery")
        assert (await shop.hears())["type"] == "tenant.requested"
        await active(owner, "bakery")
    row = await one(owner, "SELECT status, attempts FROM shared.messages WHERE type = 'tenant.signup'")
    assert tuple(row) == ("handled", 3)
